// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <string>

#include <doctest/doctest.h>

#include "mflux/lora/adapter_config.h"
#include "mflux/lora/algorithms/low_rank.h"
#include "mflux/lora/load.h"
#include "tests/lora/lora_files.h"

namespace mflux::lora {
namespace {

using mflux::testing::write_file;
using testing::bytes_of;
using testing::contains;
using testing::flux;
using testing::load_file;
using testing::LoraFile;
using testing::only_problem;
using testing::require_clean;
using testing::TempDir;

constexpr std::string_view kQ = "transformer.transformer_blocks.0.attn.to_q";
constexpr std::string_view kK = "transformer.transformer_blocks.0.attn.to_k";

// Two layers of rank 4.
LoraFile two_layers() {
  LoraFile file;
  for (const std::string_view layer : {kQ, kK}) {
    const std::string module(layer);
    file.add(module + ".lora_A.weight", {4, 64});
    file.add(module + ".lora_B.weight", {64, 4});
  }
  return file;
}

bool has_note(const Loaded& loaded, std::string_view part) {
  return std::ranges::any_of(
      loaded.notes, [&](const std::string& note) { return contains(note, part); });
}

struct Scale {
  double alpha = 0;
  std::string source;
  double scale = 0;
  bool operator==(const Scale&) const = default;
};

Scale scale_of_layer(const Loaded& loaded, std::string_view module) {
  for (const Update& update : loaded.adapters.front().updates) {
    if (update.module != module) continue;
    REQUIRE(is_low_rank(update));
    return {update.alpha, std::string(alpha_source_name(update.alpha_source)), update.scale};
  }
  return {};
}

doctest::String toString(const Scale& scale) {
  return fmt::format("{} ({}), scale {}", scale.alpha, scale.source, scale.scale).c_str();
}

TEST_CASE("a file that says no alpha means alpha = rank") {
  const Loaded loaded = load_file(two_layers(), flux(), 0.5);
  require_clean(loaded);
  CHECK(scale_of_layer(loaded, kQ) == Scale{4, "none", 0.5});
}

TEST_CASE("an alpha tensor counts for its own layer only") {
  LoraFile file = two_layers();
  file.add_value(std::string(kQ) + ".alpha", 1);
  const Loaded loaded = load_file(file, flux());
  require_clean(loaded);
  CHECK(scale_of_layer(loaded, kQ) == Scale{1, "tensor", 0.25});
  CHECK(scale_of_layer(loaded, kK) == Scale{4, "none", 1});
}

TEST_CASE("an alpha may be a scalar or a vector of one, of any dtype") {
  const struct {
    Dtype dtype;
    Shape shape;
    std::vector<std::byte> data;
  } kCases[] = {
      {Dtype::f32, {}, bytes_of<float>({8})},
      {Dtype::f32, {1}, bytes_of<float>({8})},
      {Dtype::f64, {}, bytes_of<double>({8})},
      {Dtype::f16, {}, bytes_of<uint16_t>({0x4800})},
      {Dtype::bf16, {}, bytes_of<uint16_t>({0x4100})},
      {Dtype::i64, {}, bytes_of<int64_t>({8})},
      {Dtype::i32, {}, bytes_of<int32_t>({8})},
      {Dtype::i16, {}, bytes_of<int16_t>({8})},
      {Dtype::i8, {}, bytes_of<int8_t>({8})},
      {Dtype::u64, {}, bytes_of<uint64_t>({8})},
      {Dtype::u32, {}, bytes_of<uint32_t>({8})},
      {Dtype::u16, {}, bytes_of<uint16_t>({8})},
      {Dtype::u8, {1, 1}, bytes_of<uint8_t>({8})},
  };
  for (const auto& c : kCases) {
    CAPTURE(std::string(dtype_name(c.dtype)));
    LoraFile file = two_layers();
    file.tensors.push_back({std::string(kQ) + ".alpha", {c.dtype, c.shape}, c.data});
    const Loaded loaded = load_file(file, flux());
    require_clean(loaded);
    CHECK(scale_of_layer(loaded, kQ) == Scale{8, "tensor", 2});
  }
}

TEST_CASE("an alpha of 0 is taken at its word, with a note") {
  LoraFile file = two_layers();
  file.add_value(std::string(kQ) + ".alpha", 0);
  const Loaded loaded = load_file(file, flux());
  require_clean(loaded);
  CHECK(scale_of_layer(loaded, kQ) == Scale{0, "tensor", 0});
  REQUIRE(loaded.notes.size() == 2);  // the other: it does not tell the family
  CHECK(contains(loaded.notes.back(), "alpha is 0"));
}

TEST_CASE("the metadata's configuration is asked where there is no tensor") {
  const struct {
    std::string key;
    std::string value;
    Scale q;
    Scale k;
  } kCases[] = {
      {"lora_adapter_metadata",
       R"({"transformer.lora_alpha": 8, "transformer.r": 4})",
       {8, "metadata", 2},
       {8, "metadata", 2}},
      {"lora_adapter_metadata",
       R"({"lora_alpha": 2, "r": 4})",
       {2, "metadata", .5},
       {2, "metadata", .5}},
      {"lora_adapter_metadata",
       R"({"lora_alpha": 8, "r": 4, "use_rslora": true})",
       {8, "metadata", 4},
       {8, "metadata", 4}},
      {"lora_adapter_metadata",
       R"({"lora_alpha": 8, "alpha_pattern": {"attn.to_q": 2, "to_.": 16}})",
       {2, "metadata", .5},
       {16, "metadata", 4}},
      {"lora_adapter_metadata",
       R"({"text_encoder.lora_alpha": 8, "text_encoder.r": 4})",
       {4, "none", 1},
       {4, "none", 1}},
      {"lora_adapter_metadata", R"({"lora_alpha": null, "r": 4})", {4, "none", 1}, {4, "none", 1}},
      {"lora_alpha", "8", {8, "metadata", 2}, {8, "metadata", 2}},
      {"network_alpha", "2.0", {2, "metadata", .5}, {2, "metadata", .5}},
      {"transformer.lora_alpha", "8", {8, "metadata", 2}, {8, "metadata", 2}},
      {"ss_network_alpha", "1", {4, "none", 1}, {4, "none", 1}},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.key);
    CAPTURE(c.value);
    LoraFile file = two_layers();
    file.metadata[c.key] = c.value;
    const Loaded loaded = load_file(file, flux());
    require_clean(loaded);
    CHECK(scale_of_layer(loaded, kQ) == c.q);
    CHECK(scale_of_layer(loaded, kK) == c.k);
  }
}

TEST_CASE("adapter_config.json beside the file is asked last") {
  const TempDir folder;
  write_file(folder / "adapter_config.json", R"({"lora_alpha": 16, "r": 4, "peft_type": "LORA"})");
  LoraFile file = two_layers();
  file.add_value(std::string(kQ) + ".alpha", 1);
  const LoraSpec spec{.file = file.write(folder)};
  const Loaded alone = load({&spec, 1}, flux());
  require_clean(alone);
  CHECK(scale_of_layer(alone, kQ) == Scale{1, "tensor", .25});
  CHECK(scale_of_layer(alone, kK) == Scale{16, "adapter_config.json", 4});

  file.metadata["lora_adapter_metadata"] = R"({"lora_alpha": 8})";
  file.write(folder);
  const Loaded both = load({&spec, 1}, flux());
  require_clean(both);
  CHECK(scale_of_layer(both, kK) == Scale{8, "metadata", 2});
  CHECK(has_note(both, "says another alpha"));
}

TEST_CASE("an alpha that is stated but not used is told") {
  const struct {
    std::string key;  // of the metadata, or a tensor
    std::string value;
    std::string note;
  } kCases[] = {
      {"ss_network_alpha", "1", "ss_network_alpha = 1 of the metadata"},
      {"ss_network_alpha", "16.0", "ss_network_alpha = 16 of the metadata"},
      {"lora_adapter_metadata",
       R"({"text_encoder.lora_alpha": 8, "text_encoder.r": 4})",
       "text_encoder.lora_alpha = 8 of the metadata"},
      {"lora_adapter_metadata",
       R"({"lora_alpha": 4, "alpha_pattern": {"attn.to_z": 2, "to_q": 8}})",
       "alpha_pattern 'attn.to_z' = 2 of the metadata"},
      {"lora_adapter_metadata",
       R"({"lora_alpha": 4, "alpha_pattern": {"to_.": 2, "to_q": 8}})",
       "alpha_pattern 'to_q' = 8 of the metadata"},
      {"lora_adapter_metadata", R"({"alpha": 16, "r": 4})", "alpha = 16 of the metadata"},
      {"lora_adapter_metadata",
       R"({"peft_type": "LOKR", "alpha": 16, "lora_alpha": 8})",
       "lora_alpha = 8 of the metadata"},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.value);
    LoraFile file = two_layers();
    file.metadata[c.key] = c.value;
    const Loaded loaded = load_file(file, flux());
    require_clean(loaded);
    CHECK(has_note(loaded, "alpha is stated but not used"));
    CHECK(has_note(loaded, c.note));
  }
}

TEST_CASE("an alpha that is used, or says the same, is not told as unused") {
  const std::pair<std::string, std::string> kCases[] = {
      {"ss_network_alpha", "4"},  // the rank
      {"ss_network_alpha", "None"},
      {"lora_alpha", "8"},
      {"lora_adapter_metadata", R"({"lora_alpha": 4, "alpha_pattern": {"to_q": 8}})"},
      {"lora_adapter_metadata", R"({"transformer.lora_alpha": 8, "transformer.r": 4})"},
  };
  for (const auto& [key, value] : kCases) {
    CAPTURE(value);
    LoraFile file = two_layers();
    file.metadata[key] = value;
    CHECK_FALSE(has_note(load_file(file, flux()), "not used"));
  }
}

TEST_CASE("a tensor's alpha wins over a configuration's, which is told unless they agree") {
  for (const auto& [stated, is_told] : {std::pair{"8", true}, std::pair{"2", false}}) {
    LoraFile file = two_layers();
    file.add_value(std::string(kQ) + ".alpha", 2);
    file.metadata["lora_adapter_metadata"] = fmt::format(R"({{"lora_alpha": {}}})", stated);
    const Loaded loaded = load_file(file, flux());
    CHECK(has_note(loaded, "states alpha 8, which is not used: the tensor's counts") == is_told);
  }
}

TEST_CASE("the alpha of a LoKr of two whole factors is told, in the receipt's key as well") {
  LoraFile file;
  file.add(std::string(kQ) + ".lokr_w1", {4, 4});
  file.add(std::string(kQ) + ".lokr_w2", {16, 16});
  file.add_value(std::string(kQ) + ".alpha", 16);
  const Loaded loaded = load_file(file, flux());
  require_clean(loaded);
  CHECK(has_note(loaded, "both factors of this LoKr are whole"));
  for (const KeyRecord& key : loaded.adapters.front().keys) {
    CHECK(key.used);
    CHECK(contains(key.reason, "alpha is stated but not used") == key.key.ends_with(".alpha"));
  }
}

TEST_CASE("mlx-lm's configuration says the scale itself") {
  const TempDir folder;
  write_file(
      folder / "adapter_config.json",
      R"({"fine_tune_type": "lora", "lora_parameters": {"rank": 4, "dropout": 0.0, "scale": 20.0}})");
  LoraFile file;
  file.add(std::string(kQ) + ".lora_a", {64, 4});
  file.add(std::string(kQ) + ".lora_b", {4, 64});
  const LoraSpec spec{.file = file.write(folder, "adapters.safetensors")};
  const Loaded loaded = load({&spec, 1}, flux());
  require_clean(loaded);
  CHECK(scale_of_layer(loaded, kQ) == Scale{80, "adapter_config.json", 20});
}

TEST_CASE("a configuration with another rank than the matrices is told in a note") {
  LoraFile file = two_layers();
  file.metadata["lora_adapter_metadata"] = R"({"lora_alpha": 8, "r": 16})";
  const Loaded loaded = load_file(file, flux());
  require_clean(loaded);
  CHECK(scale_of_layer(loaded, kQ) == Scale{8, "metadata", 2});
  CHECK(contains(loaded.notes.back(), "says rank 16, the matrices have 4"));
}

TEST_CASE("a configuration that cannot be read is refused") {
  const struct {
    std::string text;
    std::string message;
  } kCases[] = {
      {"{", "is not valid JSON"},
      {"[]", "is not an object"},
      {R"({"lora_alpha": "8"})", "'lora_alpha' is not a number"},
      {R"({"r": -1})", "'r' is not a rank"},
      {R"({"r": 1.5})", "'r' is not a rank"},
      {R"({"r": 99999999999})", "'r' is not a rank"},
      {R"({"use_rslora": 1})", "'use_rslora' is not true or false"},
      {R"({"alpha_pattern": []})", "'alpha_pattern' is not an object"},
      {R"({"alpha_pattern": {"(": 1}})", "has the pattern '('"},
      {R"({"alpha_pattern": {"a": "b"}})", "is not a number"},
      {R"({"init_lora_weights": "pissa_niter_4"})", "initialized with pissa_niter_4"},
      {R"({"init_lora_weights": "olora"})", "initialized with olora"},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.text);
    LoraFile file = two_layers();
    file.metadata["lora_adapter_metadata"] = c.text;
    const Problem problem = only_problem(load_file(file, flux()));
    CHECK(problem_name(problem.kind) == "bad-metadata");
    CHECK(problem.module == "");
    CHECK_MESSAGE(contains(problem.message, c.message), problem.message);
  }
}

TEST_CASE("rank-stabilized scales divide by the root of the rank") {
  LoraFile file;
  file.add(std::string(kQ) + ".lora_A.weight", {3, 64});
  file.add(std::string(kQ) + ".lora_B.weight", {64, 3});
  file.metadata["lora_adapter_metadata"] = R"({"lora_alpha": 3, "use_rslora": true})";
  const Loaded loaded = load_file(file, flux(), 2);
  require_clean(loaded);
  CHECK(scale_of_layer(loaded, kQ).scale == doctest::Approx(2 * 3 / std::sqrt(3.0)).epsilon(1e-12));
}

TEST_CASE("a negative strength is legal, one that is no number is not") {
  CHECK(scale_of_layer(load_file(two_layers(), flux(), -1), kQ) == Scale{4, "none", -1});
  const std::string error =
      mflux::testing::error_of([] { load_file(two_layers(), flux(), std::nan("")); });
  CHECK(contains(error, "not finite"));
}

}  // namespace
}  // namespace mflux::lora
