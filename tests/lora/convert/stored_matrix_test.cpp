// SPDX-License-Identifier: MIT
#include "mflux/lora/convert/stored_matrix.h"

#include <cstring>
#include <filesystem>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/kernels/convert.h"
#include "tests/testing.h"

namespace mflux::lora {
namespace {

StoredMatrix matrix(Dtype dtype, uint64_t rows, uint64_t columns, std::vector<float> values) {
  StoredMatrix result = StoredMatrix::zeros(dtype, rows, columns);
  kernels::from_float32(values, dtype, result.data);
  return result;
}

std::vector<float> values_of(const StoredMatrix& matrix) {
  std::vector<float> values(matrix.rows * matrix.columns);
  kernels::to_float32(matrix.dtype, matrix.data, values);
  return values;
}

TEST_CASE("rows and columns are picked without touching a value") {
  const StoredMatrix m = matrix(Dtype::bf16, 2, 3, {1, 0, 3, 4, 0, 6});
  CHECK(values_of(rows_of(m, 1, 1)) == std::vector<float>{4, 0, 6});
  CHECK(values_of(rows_at(m, std::vector<uint64_t>{1, 0})) == std::vector<float>{4, 0, 6, 1, 0, 3});
  CHECK(values_of(columns_of(m, std::vector<uint64_t>{2, 0})) == std::vector<float>{3, 1, 6, 4});
  CHECK(used_columns(m) == std::vector<uint64_t>{0, 2});
  CHECK(used_columns(matrix(Dtype::f32, 1, 2, {0, -0.0F})).empty());
}

TEST_CASE("a tensor is read as rows of the first dimension, or turned") {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const testing::TempDir folder;
  const std::vector<std::filesystem::path> paths = {folder / "x"};
  const std::vector<std::byte> bytes = testing::bytes_of(values);
  testing::write_file(paths.front(), {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  const JoinedFiles file(paths);
  const safetensors::TensorInfo convolution{"x", {Dtype::f32, {2, 3, 1, 1}}, 0, bytes.size()};
  CHECK(read_matrix(convolution, file).columns == 3);
  const StoredMatrix turned = read_matrix(convolution, file, true);
  CHECK(turned.rows == 3);
  CHECK(values_of(turned) == std::vector<float>{1, 4, 2, 5, 3, 6});
  const safetensors::TensorInfo vector{"x", {Dtype::f32, {6}}, 0, bytes.size()};
  CHECK(read_matrix(vector, file).rows == 6);
}

TEST_CASE("a scale is exact where every product is a value of the dtype") {
  const StoredMatrix m = matrix(Dtype::bf16, 1, 2, {1.5F, -3});
  CHECK(scales_exactly(m, 1));
  CHECK(scales_exactly(m, 0.25));
  CHECK(scales_exactly(m, 1.0 / 3));
  CHECK_FALSE(scales_exactly(m, 1.0 / 5));
  CHECK_FALSE(scales_exactly(matrix(Dtype::f16, 1, 1, {60000}), 2));
}

TEST_CASE("a block is put in its place, scaled and rounded once") {
  StoredMatrix into = StoredMatrix::zeros(Dtype::f32, 2, 3);
  put(matrix(Dtype::bf16, 1, 2, {1, 2}), 1.0 / 3, 1, 1, into);
  CHECK(values_of(into) == std::vector<float>{0, 0, 0, 0, 1.0F / 3, 2.0F / 3});
  StoredMatrix wide = StoredMatrix::zeros(Dtype::f64, 1, 1);
  put(matrix(Dtype::f32, 1, 1, {1}), 1.0 / 3, 0, 0, wide);
  double value = 0;
  std::memcpy(&value, wide.data.data(), sizeof value);
  CHECK(value == 1.0 / 3);
}

TEST_CASE("two dtypes have a common one that holds both") {
  CHECK(common_dtype(Dtype::bf16, Dtype::bf16) == Dtype::bf16);
  CHECK(common_dtype(Dtype::bf16, Dtype::f16) == Dtype::f32);
  CHECK(common_dtype(Dtype::f32, Dtype::f64) == Dtype::f64);
}

}  // namespace
}  // namespace mflux::lora
