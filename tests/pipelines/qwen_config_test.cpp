// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mflux/pipelines/qwen/config.h"
#include "mflux/save.h"
#include "tests/testing.h"
#include "tests/tiny_model.h"

namespace mflux {
namespace {

namespace qwen = pipelines::qwen;

std::filesystem::path tiny(const testing::TempDir& folder) {
  const std::filesystem::path path = folder / "model";
  testing::write_tiny_model(path, testing::TinyFamily::qwen);
  return path;
}

TEST_CASE("what config.json says is what the networks use") {
  const testing::TempDir folder;
  const std::filesystem::path path = tiny(folder);
  const Checkpoint model = open_checkpoint(path);
  const qwen::TextConfig text =
      qwen::text_config(model, nn::load_weights(model, "text_encoder", {}));
  CHECK(text.heads == 2);
  CHECK(text.key_heads == 1);
  CHECK(text.head_width == 64);
  CHECK(text.rope_sections == std::array{8, 12, 12});
  const qwen::TransformerConfig transformer =
      qwen::transformer_config(nn::load_weights(model, "transformer", {}));
  CHECK(transformer.heads == 2);
  CHECK(transformer.head_width == 64);
  CHECK_FALSE(transformer.zero_cond_t);
}

TEST_CASE("a saved folder without config.json is read by its shapes") {
  const testing::TempDir folder;
  const std::filesystem::path path = tiny(folder);
  const std::filesystem::path saved = folder / "saved";
  save({.model = path.string(), .output = saved});
  for (const char* component : {"text_encoder", "transformer", "vae"}) {
    std::filesystem::remove(saved / component / "config.json");
  }
  const Checkpoint model = open_checkpoint(saved);
  const qwen::TextConfig text =
      qwen::text_config(model, nn::load_weights(model, "text_encoder", {}));
  CHECK(text.heads == 2);
  CHECK(text.key_heads == 1);
  CHECK(text.head_width == 64);
  CHECK(text.rope_sections == std::array{8, 12, 12});
  const qwen::TransformerConfig transformer =
      qwen::transformer_config(nn::load_weights(model, "transformer", {}));
  CHECK(transformer.heads == 2);
  CHECK(transformer.rope_axes == std::array{8, 28, 28});
  const qwen::VaeConfig vae = qwen::vae_config(nn::load_weights(model, "vae", {}));
  CHECK(vae.mean.size() == 16);
  CHECK(vae.std[15] == 1.916F);
}

TEST_CASE("a config.json that does not fit its weights is refused") {
  struct Bad {
    const char* component;
    const char* text;
    const char* message;
  };
  const std::array<Bad, 6> table = {{
      {"vae", "[]", "vae/config.json is not a JSON object"},
      {"text_encoder",
       R"({"num_attention_heads": 2, "rope_scaling": {"mrope_section": [8, 12, 13]}})",
       "text_encoder/config.json: rope_scaling/mrope_section is [8,12,13], expected three numbers "
       "whose sum is 32: 'model.layers.0.self_attn.q_proj.weight' has shape (128, 128)"},
      {"text_encoder",
       R"({"num_attention_heads": 1})",
       "text_encoder: 'self_attn.k_proj' has 64 rows, which is not a multiple of the head's width "
       "128"},
      {"transformer",
       R"({"axes_dims_rope": [8, 28, 30]})",
       "transformer/config.json: axes_dims_rope is [8,28,30], expected three even numbers whose "
       "sum "
       "is 64: 'transformer_blocks.0.attn.norm_q.weight' has shape (64)"},
      {"transformer",
       R"({"axes_dims_rope": [8, 29, 27]})",
       "transformer/config.json: axes_dims_rope is [8,29,27], expected three even numbers whose "
       "sum "
       "is 64: 'transformer_blocks.0.attn.norm_q.weight' has shape (64)"},
      {"vae",
       R"({"latents_mean": [1, 2]})",
       "vae/config.json: latents_mean is [1,2], expected a list of 16 numbers: "
       "'post_quant_conv.weight' has shape (16, 16, 1, 1, 1)"},
  }};
  for (const Bad& bad : table) {
    const testing::TempDir folder;
    const std::filesystem::path path = tiny(folder);
    Checkpoint model = open_checkpoint(path);
    for (Component& component : model.components) {
      if (component.name == bad.component) component.source.config = bad.text;
    }
    const auto read = [&] {
      const nn::Weights weights = nn::load_weights(model, bad.component, {});
      const std::string name = bad.component;
      if (name == "text_encoder") qwen::text_config(model, weights);
      if (name == "transformer") qwen::transformer_config(weights);
      if (name == "vae") qwen::vae_config(weights);
    };
    CHECK_THROWS_WITH_AS(read(), bad.message, Error);
  }
}

// Reads all that the component's networks need.
void read_settings(const Checkpoint& model, std::string_view component) {
  const nn::Weights weights = nn::load_weights(model, component, {});
  if (component == "text_encoder") {
    qwen::text_config(model, weights);
    qwen::vision_config(model, weights);
  }
  if (component == "transformer") qwen::transformer_config(weights);
  if (component == "vae") qwen::vae_config(weights);
}

// With the value at "a/b", which is b within a.
std::string with_value(const std::string& config, std::string key, const nlohmann::json& value) {
  nlohmann::json changed = nlohmann::json::parse(config);
  nlohmann::json* object = &changed;
  for (size_t slash = key.find('/'); slash != key.npos; slash = key.find('/')) {
    object = &(*object)[key.substr(0, slash)];
    key.erase(0, slash + 1);
  }
  (*object)[key] = value;
  return changed.dump();
}

// None of them is a setting, but for numbers where any number will do.
std::vector<nlohmann::json> nonsense() {
  std::vector<nlohmann::json> values;
  for (const char* text :
       {R"("64")", "{}", "-1", "1.5", "1180591620717411303424", R"(["a"])", "[1, 2, -3]"}) {
    values.push_back(nlohmann::json::parse(text));
  }
  return values;
}

TEST_CASE("nonsense in any value that is read from config.json is refused with file and key") {
  struct Setting {
    const char* component;
    const char* key;
    bool any_number = false;
  };
  const std::vector<Setting> settings = {
      {"text_encoder", "num_attention_heads"},
      {"text_encoder", "head_dim"},
      {"text_encoder", "rope_scaling/mrope_section"},
      {"text_encoder", "rope_parameters/mrope_section"},
      {"text_encoder", "rope_theta", true},
      {"text_encoder", "rope_parameters/rope_theta", true},
      {"text_encoder", "rms_norm_eps", true},
      {"text_encoder", "text_config"},
      {"text_encoder", "vision_config"},
      {"text_encoder", "vision_config/num_heads"},
      {"text_encoder", "vision_config/window_size"},
      {"text_encoder", "vision_config/fullatt_block_indexes"},
      {"transformer", "axes_dims_rope"},
      {"transformer", "zero_cond_t"},
      {"vae", "latents_mean"},
      {"vae", "latents_std"},
  };
  const testing::TempDir folder;
  Checkpoint model = open_checkpoint(tiny(folder), "qwen-image-edit");
  for (const char* component : {"text_encoder", "transformer", "vae"}) {
    CHECK_NOTHROW(read_settings(model, component));
  }
  for (const Setting& setting : settings) {
    for (const nlohmann::json& value : nonsense()) {
      const std::string_view key = setting.key;
      if (setting.any_number && value.is_number()) continue;
      if ((key == "text_config" || key == "vision_config") && value.is_object()) continue;
      CAPTURE(setting.key);
      CAPTURE(value.dump());
      std::string& config =
          std::ranges::find(model.components, setting.component, &Component::name)->source.config;
      const std::string good = std::exchange(config, with_value(config, setting.key, value));
      const std::string message =
          testing::error_of([&] { read_settings(model, setting.component); });
      config = good;
      const std::string expected =
          fmt::format("{}/config.json: {} is ", setting.component, setting.key);
      CHECK_MESSAGE(testing::contains(message, expected), message);
      CHECK_MESSAGE(testing::contains(message, "expected "), message);
    }
  }
}

TEST_CASE("nonsense in the other files is refused too, and null says nothing") {
  const testing::TempDir folder;
  const std::filesystem::path path = tiny(folder);
  const Checkpoint model = open_checkpoint(path);
  struct Setting {
    const char* file;
    const char* key;
    bool any_number = false;
    bool may_be_text = false;
  };
  const std::vector<Setting> settings = {
      {"scheduler/scheduler_config.json", "base_image_seq_len", true},
      {"scheduler/scheduler_config.json", "base_shift", true},
      {"scheduler/scheduler_config.json", "max_image_seq_len", true},
      {"scheduler/scheduler_config.json", "max_shift", true},
      {"scheduler/scheduler_config.json", "shift_terminal", true},
      {"scheduler/scheduler_config.json", "use_dynamic_shifting"},
      {"processor/preprocessor_config.json", "min_pixels"},
      {"processor/preprocessor_config.json", "max_pixels"},
      {"processor/preprocessor_config.json", "size"},
      {"processor/preprocessor_config.json", "size/shortest_edge"},
      {"processor/preprocessor_config.json", "size/longest_edge"},
      {"model_index.json", "_class_name", false, true},
  };
  const auto read = [&] {
    qwen::schedule_defaults(model);
    qwen::pixel_limits(model);
    qwen::names_pictures(model);
  };
  for (const Setting& setting : settings) {
    const std::filesystem::path file = path / setting.file;
    std::filesystem::create_directories(file.parent_path());
    for (const nlohmann::json& value : nonsense()) {
      if (setting.any_number && value.is_number()) continue;
      if (setting.may_be_text && value.is_string()) continue;
      if (std::string_view(setting.key) == "size" && value.is_object()) continue;
      CAPTURE(setting.key);
      CAPTURE(value.dump());
      testing::write_file(file, with_value("{}", setting.key, value));
      const std::string message = testing::error_of(read);
      const std::string expected = fmt::format("{}: {} is ", file.string(), setting.key);
      CHECK_MESSAGE(testing::contains(message, expected), message);
      CHECK_MESSAGE(testing::contains(message, "expected "), message);
    }
    testing::write_file(file, with_value("{}", setting.key, nullptr));
    CHECK_NOTHROW(read());
  }
}

TEST_CASE("the schedule is the scheduler's, or the published model's without one") {
  const testing::TempDir folder;
  const std::filesystem::path path = tiny(folder);
  const std::filesystem::path file = path / "scheduler" / "scheduler_config.json";
  const Checkpoint model = open_checkpoint(path);

  std::filesystem::remove(file);
  pipelines::Defaults defaults = qwen::schedule_defaults(model);
  CHECK(defaults.steps == 20);
  REQUIRE(defaults.shift);
  CHECK(defaults.shift->max_tokens == 8192);
  CHECK(defaults.shift->max_shift == 0.9F);
  CHECK(defaults.shift->terminal == 0.02F);
  CHECK(defaults.uses_negative_prompt);

  testing::write_file(file, R"({"use_dynamic_shifting": true, "max_shift": 0.7})");
  defaults = qwen::schedule_defaults(model);
  REQUIRE(defaults.shift);
  CHECK(defaults.shift->max_tokens == 4096);
  CHECK(defaults.shift->max_shift == 0.7F);
  CHECK_FALSE(defaults.shift->terminal);

  testing::write_file(file, R"({"use_dynamic_shifting": false, "shift": 3.0})");
  defaults = qwen::schedule_defaults(model);
  REQUIRE(defaults.shift);
  CHECK(defaults.shift->base_shift == doctest::Approx(1.0986123F));
  CHECK(defaults.shift->max_shift == defaults.shift->base_shift);

  testing::write_file(file, "{}");
  CHECK_FALSE(qwen::schedule_defaults(model).shift);

  testing::write_file(file, "nonsense");
  CHECK_THROWS_AS(qwen::schedule_defaults(model), Error);
  for (const char* bad :
       {R"({"shift": "3"})",
        R"({"shift": 0})",
        R"({"max_shift": [1]})",
        R"({"use_dynamic_shifting": 1})"}) {
    testing::write_file(file, bad);
    CHECK_THROWS_WITH_AS(
        qwen::schedule_defaults(model), doctest::Contains("scheduler_config.json: "), Error);
  }
}

TEST_CASE("all Edit models but the first name their pictures") {
  const testing::TempDir folder;
  const std::filesystem::path path = tiny(folder);
  const Checkpoint model = open_checkpoint(path);
  const std::filesystem::path file = path / "model_index.json";
  std::filesystem::remove(file);
  CHECK(qwen::names_pictures(model));
  testing::write_file(file, R"({"_class_name": "QwenImageEditPlusPipeline"})");
  CHECK(qwen::names_pictures(model));
  testing::write_file(file, R"({"_class_name": "QwenImageEditPipeline"})");
  CHECK_FALSE(qwen::names_pictures(model));
}

}  // namespace
}  // namespace mflux
