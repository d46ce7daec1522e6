// SPDX-License-Identifier: MIT
#include "mflux/base/tensor.h"

#include <doctest/doctest.h>

#include "tests/testing.h"

namespace mflux {
namespace {

TEST_CASE("every dtype is known by its safetensors name") {
  int count = 0;
  for (const char* name :
       {"F64",
        "F32",
        "F16",
        "BF16",
        "F8_E4M3",
        "F8_E5M2",
        "I64",
        "I32",
        "I16",
        "I8",
        "U64",
        "U32",
        "U16",
        "U8",
        "BOOL"}) {
    CAPTURE(name);
    const auto dtype = parse_dtype(name);
    REQUIRE(dtype.has_value());
    CHECK(dtype_name(*dtype) == name);
    CHECK(*dtype == static_cast<Dtype>(count++));
    const std::string_view digits = std::string_view(name).substr(name[0] == 'B' && name[1] == 'F');
    const bool narrow = digits == "BOOL" || digits[1] == '8';
    const uint64_t bytes = narrow ? 1 : digits[1] == '1' ? 2 : digits[1] == '3' ? 4 : 8;
    CHECK(dtype_bytes(*dtype) == bytes);
    CHECK(is_float(*dtype) == (digits[0] == 'F'));
  }
  CHECK(parse_dtype("f32") == std::nullopt);
  CHECK(parse_dtype("F4") == std::nullopt);
  CHECK(parse_dtype("") == std::nullopt);
}

TEST_CASE("rows are the outermost dimension") {
  const TensorSpec matrix{Dtype::bf16, {3, 4, 5}};
  CHECK(matrix.rows() == 3);
  CHECK(matrix.row_elements() == 20);
  CHECK(matrix.elements() == 60);
  CHECK(matrix.bytes() == 120);
  const TensorSpec scalar{Dtype::f32, {}};
  CHECK(scalar.rows() == 1);
  CHECK(scalar.row_elements() == 1);
  CHECK(scalar.bytes() == 4);
  const TensorSpec empty{Dtype::f32, {0, 7}};
  CHECK(empty.rows() == 0);
  CHECK(empty.row_elements() == 0);
  CHECK(empty.bytes() == 0);
  CHECK(to_string(Shape{3, 4}) == "(3, 4)");
  CHECK(to_string(Shape{}) == "()");
}

TEST_CASE("a shape beyond 64 bits is an error, not a wrong number") {
  const Shape huge = {uint64_t{1} << 40, uint64_t{1} << 40};
  CHECK(element_count(huge) == std::nullopt);
  CHECK(testing::contains(
      testing::error_of([&] { (void)TensorSpec{Dtype::u8, huge}.elements(); }),
      "more elements than 64 bits"));
}

}  // namespace
}  // namespace mflux
