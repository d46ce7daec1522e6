// SPDX-License-Identifier: MIT
#include "mflux/save.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mflux/kernels/convert.h"
#include "mflux/kernels/quantize.h"
#include "mflux/safetensors/folder.h"
#include "tests/folders.h"
#include "tests/testing.h"
#include "tests/tiny_save.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::contents_of;
using testing::differences;
using testing::error_of;
using testing::read_file;
using testing::TempDir;
using testing::TinyFamily;
using testing::TinyLora;
using testing::TinySave;

struct Stored {
  TensorSpec spec = {};
  std::vector<std::byte> data = {};

  bool operator==(const Stored&) const = default;
};

Stored stored(Dtype dtype, Shape shape, std::vector<std::byte> data) {
  return {{dtype, std::move(shape)}, std::move(data)};
}

// Every tensor of a component by name.
std::map<std::string, Stored> tensors_of(const fs::path& folder) {
  const safetensors::TensorFolder opened = safetensors::open_folder(folder);
  std::map<std::string, Stored> result;
  for (const safetensors::StoredTensor& tensor : opened.tensors) {
    std::vector<std::byte> data(tensor.info.bytes);
    opened.files[tensor.file].file.read(tensor.info.offset, data);
    result[tensor.info.name] = {tensor.info.spec, std::move(data)};
  }
  return result;
}

std::vector<float> floats_of(const Stored& tensor) {
  std::vector<float> values(tensor.spec.elements());
  kernels::to_float32(tensor.spec.dtype, tensor.data, values);
  return values;
}

// What the contract says of a merged weight: the products over the rank in order, with fused
// multiply-add, added in float32.
std::vector<float> merged(
    const Stored& weight, const Stored& up, const Stored& down, double scale) {
  std::vector<float> sum = floats_of(weight);
  const std::vector<float> left = floats_of(up);
  const std::vector<float> right = floats_of(down);
  const uint64_t rank = down.spec.shape[0];
  const uint64_t columns = down.spec.shape[1];
  for (uint64_t i = 0; i < weight.spec.shape[0]; ++i) {
    for (uint64_t j = 0; j < columns; ++j) {
      float delta = 0;
      for (uint64_t k = 0; k < rank; ++k) {
        const auto factor = static_cast<float>(scale * static_cast<double>(left[i * rank + k]));
        delta = std::fma(factor, right[k * columns + j], delta);
      }
      sum[i * columns + j] += delta;
    }
  }
  return sum;
}

std::map<std::string, Stored> lora_of(const TinySave& tiny) {
  fs::create_directories(tiny.folder / "only-lora");
  fs::copy_file(tiny.path("lora.safetensors"), tiny.folder / "only-lora/0.safetensors");
  return tensors_of(tiny.folder / "only-lora");
}

constexpr const char* kLayer = "transformer_blocks.0.attn.to_q";

TEST_CASE("an unquantized merged weight is the float32 sum rounded once") {
  const TinySave tiny;
  SaveOptions options = tiny.options();
  options.bits = {};
  options.loras.front().scale = -0.7;
  save(options);
  const auto model = tensors_of(tiny.folder / "model/transformer");
  const auto lora = lora_of(tiny);
  const std::string module = std::string("transformer.") + kLayer;
  const std::string weight = std::string(kLayer) + ".weight";
  const std::vector<float> sum = merged(
      model.at(weight),
      lora.at(module + ".lora_B.weight"),
      lora.at(module + ".lora_A.weight"),
      -0.7);
  std::vector<std::byte> rounded(sum.size() * 2);
  kernels::from_float32(sum, Dtype::bf16, rounded);
  const Stored expected = stored(Dtype::bf16, {64, 64}, rounded);
  CHECK(expected.data != model.at(weight).data);
  CHECK((tensors_of(tiny.folder / "out/transformer").at(weight) == expected));
}

TEST_CASE("a packed merged weight keeps the sum's scales, cast, and codes against them") {
  const TinySave tiny;
  SaveOptions options = tiny.options();
  options.bits = 4;
  save(options);
  const auto model = tensors_of(tiny.folder / "model/transformer");
  const auto lora = lora_of(tiny);
  const std::string module = std::string("transformer.") + kLayer;
  const std::vector<float> sum = merged(
      model.at(std::string(kLayer) + ".weight"),
      lora.at(module + ".lora_B.weight"),
      lora.at(module + ".lora_A.weight"),
      1);
  const QuantFormat format{QuantMode::affine, 4, 64};
  std::vector<std::byte> packed(64 * 64 / 2);
  std::vector<std::byte> scales(64 * 2);
  std::vector<std::byte> biases(64 * 2);
  kernels::quantize(
      format, sum, Dtype::bf16, kernels::Rounding::stored_scales, {packed, scales, biases});
  const auto out = tensors_of(tiny.folder / "out/transformer");
  CHECK((out.at(std::string(kLayer) + ".weight") == stored(Dtype::u32, {64, 8}, packed)));
  CHECK((out.at(std::string(kLayer) + ".scales") == stored(Dtype::bf16, {64, 1}, scales)));
  CHECK((out.at(std::string(kLayer) + ".biases") == stored(Dtype::bf16, {64, 1}, biases)));
}

TEST_CASE("--layout diffusers without LoRAs gives back every tensor as it was") {
  for (const TinyFamily family : {TinyFamily::flux, TinyFamily::qwen}) {
    const TinySave tiny(family);
    SaveOptions options = tiny.options();
    options.bits = {};
    options.loras = {};
    options.layout = Layout::diffusers;
    save(options);
    for (const auto& entry : fs::directory_iterator(tiny.folder / "model")) {
      const std::string name = entry.path().filename().string();
      if (!fs::exists(tiny.folder / "out" / name / "config.json")) continue;
      if (!name.starts_with("t") && name != "vae") continue;
      if (name.starts_with("tokenizer")) continue;
      CAPTURE(name);
      auto theirs = tensors_of(entry.path());
      const auto ours = tensors_of(tiny.folder / "out" / name);
      // Tied to the embedding, or of the tower that text-to-image does not use.
      std::erase_if(theirs, [&](const auto& item) { return ours.count(item.first) == 0; });
      CHECK_FALSE(ours.empty());
      CHECK((ours == theirs));
    }
    CHECK(
        tensors_of(tiny.folder / "out/transformer").size() ==
        tensors_of(tiny.folder / "model/transformer").size());
  }
}

TEST_CASE("a saved folder, packed or not, saved again is the same tensors") {
  for (const bool packed : {false, true}) {
    CAPTURE(packed);
    const TinySave tiny;
    SaveOptions options = tiny.options("first");
    if (!packed) options.bits = {};
    save(options);
    SaveOptions again = tiny.options("second");
    again.model = tiny.path("first");
    again.bits = {};
    again.loras = {};
    again.max_shard_bytes = 300'000;
    save(again);
    for (const char* component : {"transformer", "text_encoder", "text_encoder_2", "vae"}) {
      CAPTURE(component);
      CHECK(
          (tensors_of(tiny.folder / "first" / component) ==
           tensors_of(tiny.folder / "second" / component)));
    }
  }
}

TEST_CASE("files that hold no weights go along unchanged") {
  const TinySave tiny;
  save(tiny.options());
  for (const auto& [name, bytes] : contents_of(tiny.folder / "model")) {
    if (name.ends_with("/") || contains(name, ".safetensors")) continue;
    CAPTURE(name);
    CHECK(read_file(tiny.folder / "out" / name) == bytes);
  }
  CHECK(fs::exists(tiny.folder / "out/tokenizer_2"));
}

TEST_CASE("memory, paths and the name of the output do not change a byte") {
  const TinySave tiny;
  SaveOptions options = tiny.options("a");
  options.max_shard_bytes = 400'000;
  save(options);
  options.output = tiny.folder / "deep/down/b";
  options.max_memory = 16 << 20;
  options.model = tiny.path("model") + "/../model/";
  save(options);
  CHECK(differences(contents_of(tiny.folder / "a"), contents_of(tiny.folder / "deep/down/b"))
            .empty());
}

TEST_CASE("a bound on memory that no tile fits into is refused before anything is written") {
  const TinySave tiny;
  SaveOptions options = tiny.options("a");
  options.max_memory = (16 << 20) - 1;
  const std::string error = testing::error_of([&] { save(options); });
  CHECK(contains(error, "expected at least 16 MiB"));
  CHECK_FALSE(fs::exists(tiny.folder / "a"));
}

TEST_CASE("neither the receipt nor any other file holds an absolute path or a date") {
  const TinySave tiny;
  save(tiny.options());
  const std::string place = tiny.folder.path().string();
  for (const auto& [name, bytes] : contents_of(tiny.folder / "out")) {
    CAPTURE(name);
    CHECK_FALSE(contains(bytes, place));
  }
}

TEST_CASE("the strength of a LoRA that is 0 leaves the model as it is") {
  const TinySave tiny;
  SaveOptions options = tiny.options("a");
  options.loras.front().scale = 0;
  save(options);
  SaveOptions without = tiny.options("b");
  without.loras = {};
  save(without);
  for (const char* component : {"transformer", "text_encoder"}) {
    CHECK((tensors_of(tiny.folder / "a" / component) == tensors_of(tiny.folder / "b" / component)));
  }
}

TEST_CASE("quantizing at load keeps full precision on disk and records the level") {
  const TinySave tiny;
  SaveOptions options = tiny.options("at-load");
  options.quantize_at_load = true;
  options.bits = 4;
  save(options);
  SaveOptions full = tiny.options("full");
  full.bits = {};
  save(full);
  for (const char* component : {"transformer", "text_encoder", "text_encoder_2", "vae"}) {
    CHECK(
        (tensors_of(tiny.folder / "at-load" / component) ==
         tensors_of(tiny.folder / "full" / component)));
    const auto folder = safetensors::open_folder(tiny.folder / "at-load" / component);
    CHECK(folder.metadata("quantization_level") == "4");
    CHECK(folder.metadata("mflux_cpp_quantized") == "at load");
    const auto plain = safetensors::open_folder(tiny.folder / "full" / component);
    CHECK(plain.metadata("quantization_level") == "None");
  }
}

TEST_CASE("headers and indexes hold what Python's mflux looks for, as strings") {
  const TinySave tiny;
  SaveOptions options = tiny.options();
  options.max_shard_bytes = 100'000;
  save(options);
  const auto folder = safetensors::open_folder(tiny.folder / "out/transformer");
  CHECK(folder.metadata("quantization_level") == "8");
  CHECK_FALSE(folder.metadata("mflux_version").empty());
  CHECK(folder.metadata("mflux_cpp_mode") == "affine");
  CHECK(folder.metadata("mflux_cpp_group_size") == "64");
  const auto index = nlohmann::json::parse(
      read_file(tiny.folder / "out/transformer/model.safetensors.index.json"));
  CHECK(index["metadata"]["quantization_level"] == "8");
  CHECK(index["metadata"]["total_size"].is_number_integer());
  uint64_t bytes = 0;
  for (const auto& tensor : folder.tensors) {
    bytes += tensor.info.bytes;
    CHECK(index["weight_map"][tensor.info.name] == folder.files[tensor.file].name);
  }
  CHECK(index["metadata"]["total_size"] == bytes);
  CHECK(index["weight_map"].size() == folder.tensors.size());
  CHECK(folder.files.size() > 2);
  CHECK(folder.files.front().name == "0.safetensors");
}

TEST_CASE("a save tells each step in the seed's words") {
  const TinySave tiny;
  std::string log;
  std::string headlines;
  uint64_t done = 0;
  uint64_t total = 0;
  SaveEvents events;
  events.log = [&](std::string_view line) { log += std::string(line) + "\n"; };
  events.headline = [&](std::string_view line) { headlines += std::string(line) + "\n"; };
  events.progress = [&](const SaveProgress& progress) {
    CHECK(progress.bytes_done >= done);
    done = progress.bytes_done;
    total = progress.bytes_total;
  };
  SaveOptions options = tiny.options();
  save(options, events);
  CHECK(contains(headlines, "Merging 1 LoRA(s) into base weights for saving...\n"));
  CHECK(contains(headlines, "Saving transformer (1 shards)...\n"));
  CHECK(contains(log, "Quantizing shard 1/1 to 8-bit...\n"));
  CHECK(contains(log, "Writing shard 1/1...\n"));
  CHECK(contains(
      log, "transformer_blocks.0.attn.to_q: base (64, 64), A (8, 64), B (64, 8), scale 1"));
  CHECK(contains(headlines, "Successfully merged 20 LoRA layer(s) into base model\n"));
  CHECK(contains(headlines, "Created transformer: 126 tensors, 1 shards, "));
  CHECK(done == total);
  CHECK(total > 3'000'000);
}

TEST_CASE("the report tells what went in and out") {
  const TinySave tiny;
  const SaveReport report = save(tiny.options());
  CHECK(report.resumed_shards == 0);
  CHECK(report.warnings.empty());
  REQUIRE(report.receipt.loras.size() == 1);
  CHECK(report.receipt.loras[0].file.file == "lora.safetensors");
  CHECK(report.receipt.loras[0].layers == 20);
  CHECK(report.receipt.loras[0].kept > 0.99);
  CHECK(report.receipt.loras[0].kept < 1.01);
  uint64_t bytes = 0;
  for (const FileRecord& record : report.receipt.outputs) {
    CHECK(fs::file_size(tiny.folder / "out" / record.file) == record.bytes);
    if (record.file.ends_with(".safetensors")) bytes += record.bytes;
  }
  CHECK(report.output_bytes == bytes);
}

TEST_CASE("a save that is told to stop ends as interrupted and leaves nothing") {
  const TinySave tiny;
  const auto before = contents_of(tiny.folder.path());
  for (const uint64_t moment : {uint64_t{0}, uint64_t{1'000'000}}) {
    std::atomic<bool> stop = moment == 0;
    SaveEvents events;
    events.stop = &stop;
    events.progress = [&](const SaveProgress& progress) {
      if (progress.bytes_done >= moment) stop = true;
    };
    try {
      save(tiny.options("deep/out"), events);
      FAIL("not interrupted");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::interrupted);
    }
    CHECK(differences(contents_of(tiny.folder.path()), before).empty());
  }
}

TEST_CASE("a LoRA of which too little survives is refused, and nothing is left") {
  const TinySave tiny;
  const auto before = contents_of(tiny.folder.path());
  SaveOptions options = tiny.options();
  options.bits = {};
  options.min_kept = 0.5;
  options.loras.front().scale = 1e-6;  // far below the last place of bf16
  try {
    save(options);
    FAIL("not refused");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::lora);
    CHECK(contains(error.what(), "lora.safetensors: only "));
    CHECK(contains(error.what(), "--min-kept asks for 0.5000"));
  }
  CHECK(differences(contents_of(tiny.folder.path()), before).empty());
}

TEST_CASE("a LoRA of which little survives is saved with a warning") {
  const TinySave tiny;
  SaveOptions options = tiny.options();
  options.bits = {};
  options.loras.front().scale = 1e-6;
  const SaveReport report = save(options);
  const double kept = report.receipt.loras.at(0).kept;
  CAPTURE(kept);
  REQUIRE(kept < 0.1);
  REQUIRE(report.warnings.size() == 1);
  CHECK(contains(report.warnings[0], "of the LoRA survives rounding"));
}

// Of a LoRA far below the rounding step the measure says how rounding happened to fall.
TEST_CASE("a LoRA lost in the noise does not count as kept") {
  size_t noisy = 0;
  for (const double scale : {1e-5, -1e-5}) {
    CAPTURE(scale);
    const TinySave tiny;
    SaveOptions options = tiny.options();
    options.bits = 4;
    options.loras.front().scale = scale;
    const SaveReport report = save(options);
    const double kept = report.receipt.loras.at(0).kept;
    CAPTURE(kept);
    REQUIRE(std::abs(kept - 1) > 0.1);
    if (kept < 1) continue;
    ++noisy;
    REQUIRE(report.warnings.size() == 1);
    CHECK(contains(report.warnings[0], "lost in the noise"));
    CHECK_FALSE(contains(report.warnings[0], "survives"));
    options.output = tiny.path("refused");
    options.min_kept = 0.5;
    const std::string error = error_of([&] { save(options); });
    CHECK(contains(error, "lost in the noise"));
    CHECK(contains(error, "--min-kept asks for 0.5000"));
    CHECK_FALSE(fs::exists(options.output));
  }
  CHECK(noisy != 0);
}

// Puts `bits` over the last two bytes of the first shard of the transformer; gives the tensor's
// name.
std::string damage(const TinySave& tiny, uint16_t bits) {
  const std::string name = "model/transformer/diffusion_pytorch_model-00001-of-00002.safetensors";
  std::string bytes = read_file(tiny.path(name));
  std::memcpy(bytes.data() + bytes.size() - 2, &bits, 2);
  testing::write_file(tiny.path(name), bytes);
  const File file = File::open(tiny.path(name));
  return safetensors::read_header(file).tensors.back().name;
}

TEST_CASE("a NaN in a weight that is to be packed is refused by name") {
  const TinySave tiny;
  const std::string tensor = damage(tiny, 0x7FC0);
  const auto before = contents_of(tiny.folder.path());
  SaveOptions options = tiny.options();
  options.loras = {};
  const std::string error = testing::error_of([&] { save(options); });
  CHECK(
      contains(error, "00001-of-00002.safetensors: tensor '" + tensor + "' holds infinite or NaN"));
  CHECK(differences(contents_of(tiny.folder.path()), before).empty());
}

TEST_CASE("a merged weight that overflows its dtype is refused") {
  const TinySave tiny;
  const auto before = contents_of(tiny.folder.path());
  for (const std::optional<int> bits : {std::optional<int>(), std::optional<int>(8)}) {
    SaveOptions options = tiny.options();
    options.bits = bits;
    options.loras.front().scale = 1e41;
    try {
      save(options);
      FAIL("not refused");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::lora);
      CHECK(contains(error.what(), "after merging, the weight holds infinite or NaN values"));
    }
    CHECK(differences(contents_of(tiny.folder.path()), before).empty());
  }
}

TEST_CASE("a LoRA that does not fit is refused, left out, or saved around") {
  const TinySave tiny;
  write_tiny_lora(
      tiny.folder / "lora.safetensors", TinyFamily::flux, TinyLora::misfit, TinySave::kSize);
  const auto before = contents_of(tiny.folder.path());
  SaveOptions options = tiny.options();
  CHECK_THROWS_AS(save(options), Error);
  CHECK(differences(contents_of(tiny.folder.path()), before).empty());

  options.on_lora_failure = OnLoraFailure::skip_layer;
  options.output = tiny.folder / "skip-layer";
  CHECK(save(options).receipt.loras.at(0).layers == 19);

  options.on_lora_failure = OnLoraFailure::skip_lora;
  options.output = tiny.folder / "skip-lora";
  save(options);
  SaveOptions without = tiny.options("without");
  without.loras = {};
  save(without);
  CHECK(
      (tensors_of(tiny.folder / "skip-lora/transformer") ==
       tensors_of(tiny.folder / "without/transformer")));

  options.on_lora_failure = OnLoraFailure::full_precision;
  options.output = tiny.folder / "full";
  const SaveReport full = save(options);
  CHECK(full.receipt.loras.at(0).layers == 19);
  CHECK(contains(full.warnings.at(0), "saving without quantization"));
  CHECK(
      safetensors::open_folder(tiny.folder / "full/transformer").metadata("quantization_level") ==
      "None");
}

}  // namespace
}  // namespace mflux
