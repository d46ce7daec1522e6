// SPDX-License-Identifier: MIT
#include "mflux/bake/whole_matrix.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/bake/memory.h"
#include "mflux/base/error.h"
#include "mflux/kernels/convert.h"
#include "mflux/save.h"
#include "mflux/verify.h"
#include "tests/testing.h"
#include "tests/tiny_save.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::error_of;
using testing::f32_tensor;
using testing::TestTensor;
using testing::TinySave;

constexpr uint64_t kHidden = 64;
const std::string kFused = "lora_unet_double_blocks_0_img_attn_qkv";
const std::string kBlock = "transformer_blocks.0.attn.";

std::vector<float> some_numbers(uint64_t size, float step) {
  std::vector<float> values(size);
  for (size_t i = 0; i < size; ++i) {
    values[i] = (static_cast<float>(i * 37 % 19) - 9) * step;
  }
  return values;
}

struct InputDora {
  std::vector<float> down = some_numbers(2 * kHidden, 0.01F);
  std::vector<float> up = some_numbers(3 * kHidden * 2, 0.03F);
  std::vector<float> magnitude = std::vector<float>(kHidden, 0.5F);

  // On the fused layer, whose parts are three tensors of the model.
  void write(const fs::path& file) const {
    testing::write_safetensors(
        file,
        {f32_tensor(kFused + ".lora_down.weight", {2, kHidden}, down),
         f32_tensor(kFused + ".lora_up.weight", {3 * kHidden, 2}, up),
         f32_tensor(kFused + ".alpha", {}, {2}),
         f32_tensor(kFused + ".dora_scale", {1, kHidden}, magnitude)},
        {});
  }
};

std::vector<float> read_weight(const fs::path& folder, const std::string& name) {
  const safetensors::TensorFolder opened = safetensors::open_folder(folder / "transformer");
  for (const safetensors::StoredTensor& tensor : opened.tensors) {
    if (tensor.info.name != name) continue;
    std::vector<std::byte> data(tensor.info.bytes);
    opened.files[tensor.file].file.read(tensor.info.offset, data);
    std::vector<float> values(tensor.info.spec.elements());
    kernels::to_float32(tensor.info.spec.dtype, data, values);
    return values;
  }
  FAIL("no tensor ", name);
  return {};
}

std::vector<float> read_fused(const fs::path& folder) {
  std::vector<float> result;
  for (const char* part : {"to_q", "to_k", "to_v"}) {
    const std::vector<float> rows = read_weight(folder, kBlock + part + ".weight");
    result.insert(result.end(), rows.begin(), rows.end());
  }
  return result;
}

SaveOptions plain_options(const TinySave& tiny, const std::vector<std::string>& loras) {
  SaveOptions options{
      .model = tiny.path("model"), .output = tiny.folder / "out", .layout = Layout::diffusers};
  for (const std::string& name : loras) options.loras.push_back({.name = tiny.path(name)});
  return options;
}

TEST_CASE("DoRA per input takes its norms over all parts of a fused layer") {
  const TinySave tiny;
  const InputDora dora;
  dora.write(tiny.folder / "dora.safetensors");
  save(plain_options(tiny, {"dora.safetensors"}));
  const std::vector<float> base = read_fused(tiny.path("model"));
  const std::vector<float> merged = read_fused(tiny.folder / "out");
  std::vector<double> v(base.size());
  std::vector<double> squares(kHidden);
  for (size_t i = 0; i < v.size(); ++i) {
    const size_t row = i / kHidden;
    const size_t column = i % kHidden;
    v[i] = static_cast<double>(base[i]);
    for (size_t k = 0; k < 2; ++k) {
      v[i] += static_cast<double>(dora.up[row * 2 + k]) *
              static_cast<double>(dora.down[k * kHidden + column]);
    }
    squares[column] += v[i] * v[i];
  }
  double error = 0;
  for (size_t i = 0; i < v.size(); ++i) {
    const double expected = v[i] * 0.5 / std::sqrt(squares[i % kHidden]);
    error = std::max(error, std::abs(static_cast<double>(merged[i]) - expected));
  }
  CHECK(error < 0.5 / 256);  // half a step of BF16 at that size
  CHECK(base != merged);
}

TEST_CASE(
    "a matrix merged as a whole comes out the same packed, verified and "
    "told in the receipt") {
  const TinySave tiny;
  InputDora().write(tiny.folder / "dora.safetensors");
  SaveOptions options = tiny.options();
  options.loras = {
      {.name = tiny.path("lora.safetensors"), .scale = 0.5},
      {.name = tiny.path("dora.safetensors"), .scale = 0.75}};
  save(options);
  const std::string receipt = testing::read_file(tiny.folder / "out" / "bake.json");
  CHECK(contains(receipt, "\"order_dependent\": false"));
  CHECK(contains(receipt, "\"order_dependent\": true"));
  CHECK(contains(receipt, "\"algorithm\": \"DoRA\""));
  const VerifyReport report =
      verify({.folder = tiny.folder / "out", .base = tiny.path("model"), .loras = options.loras});
  CHECK(report.passed());
}

TEST_CASE("a matrix that does not fit the memory is refused with the numbers") {
  const TinySave tiny;
  InputDora().write(tiny.folder / "dora.safetensors");
  SaveOptions options = plain_options(tiny, {"dora.safetensors"});
  options.max_memory = 16 << 20;
  const std::string message = error_of([&] { save(options); });
  CHECK(contains(message, "DoRA works on the whole matrix, which takes 1 MiB in float32"));
  CHECK(contains(message, "the save needs 17 MiB, --max-memory allows 16 MiB"));
  CHECK_FALSE(fs::exists(tiny.folder / "out"));
}

TEST_CASE("the most that whole matrices take is that of those held together") {
  const auto group = [](size_t first, size_t last, uint64_t bytes) {
    return WholeGroup{.first_source = {0, first}, .last_source = {0, last}, .bytes = bytes};
  };
  CHECK(whole_peak({}) == 0);
  CHECK(whole_peak({group(0, 1, 5), group(2, 3, 7)}) == 7);
  CHECK(whole_peak({group(0, 2, 5), group(2, 3, 7)}) == 12);
  CHECK(whole_peak({group(0, 9, 1), group(1, 2, 5), group(3, 4, 4)}) == 6);
}

}  // namespace
}  // namespace mflux
