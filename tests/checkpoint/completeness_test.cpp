// SPDX-License-Identifier: MIT
#include "mflux/checkpoint/completeness.h"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/save.h"
#include "mflux/verify.h"
#include "tests/folders.h"
#include "tests/program.h"
#include "tests/testing.h"
#include "tests/tiny_save.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::error_of;
using testing::replace_in;
using testing::run_program;
using testing::TinyFamily;
using testing::TinySave;
using testing::write_file;

// A model that something happens to.
struct Damaged {
  explicit Damaged(TinyFamily family = TinyFamily::flux) : tiny(family) {}

  fs::path path(std::string_view name) const { return tiny.folder / "model" / name; }

  // The save must be refused in these words and leave nothing.
  void check(const std::vector<std::string>& words) const {
    SaveOptions options = tiny.options();
    options.loras = {};
    const std::string message = error_of([&] { save(options); });
    CAPTURE(message);
    CHECK_FALSE(message.empty());
    for (const std::string& word : words) CHECK_MESSAGE(contains(message, word), word);
    CHECK_FALSE(fs::exists(options.output));
  }

  TinySave tiny;
};

const std::string kVae = "vae/diffusion_pytorch_model.safetensors";

TEST_CASE("a component that model_index.json promises must be there") {
  for (const char* name :
       {"vae",
        "text_encoder",
        "text_encoder_2",
        "transformer",
        "tokenizer",
        "tokenizer_2",
        "scheduler"}) {
    CAPTURE(name);
    const Damaged model;
    fs::remove_all(model.path(name));
    model.check(
        {model.path("").parent_path().string(),
         "not a whole FLUX.1 model",
         "model_index.json promises",
         std::string(name) + ": there is no such folder"});
  }
  for (const char* name : {"vae", "text_encoder", "transformer", "tokenizer"}) {
    CAPTURE(name);
    const Damaged model(TinyFamily::qwen);
    fs::remove_all(model.path(name));
    model.check({"not a whole Qwen-Image model", std::string(name) + ": there is no such folder"});
  }
}

TEST_CASE("a component without its weights is named with what is there") {
  SUBCASE("config alone") {
    const Damaged model;
    fs::remove(model.path(kVae));
    model.check({"vae: holds config.json but no weights"});
  }
  SUBCASE("an unfinished download") {
    const Damaged model;
    fs::rename(model.path(kVae), model.path(kVae + ".incomplete"));
    model.check({"vae: holds diffusion_pytorch_model.safetensors.incomplete, an unfinished"});
  }
  SUBCASE("an empty folder") {
    const Damaged model;
    fs::remove_all(model.path("text_encoder_2"));
    fs::create_directory(model.path("text_encoder_2"));
    write_file(model.path("text_encoder_2/.DS_Store"), "Mac OS X");
    model.check({"text_encoder_2: the folder is empty"});
  }
  SUBCASE("one shard of several") {
    const Damaged model;
    fs::rename(model.path(kVae), model.path("vae/m-00001-of-00003.safetensors"));
    model.check({"vae", "1 of 3 shards", "shard 2 is missing"});
  }
  SUBCASE("a link to nothing") {
    const Damaged model;
    fs::remove(model.path(kVae));
    fs::create_symlink("../../blobs/0123", model.path(kVae));
    model.check({kVae, "a link to ../../blobs/0123, which is not there"});
  }
  SUBCASE("a folder that is a link to nothing") {
    const Damaged model;
    fs::remove_all(model.path("vae"));
    fs::create_symlink("gone", model.path("vae"));
    model.check({"vae: a link to gone, which is not there"});
  }
  SUBCASE("every weight is missing") {
    const Damaged model;
    for (const char* name : {"vae", "text_encoder", "text_encoder_2", "transformer"}) {
      fs::remove_all(model.path(name));
    }
    model.check({"model_index.json is there, but none of the folders"});
  }
}

TEST_CASE("small files of a partial snapshot are missed too") {
  for (const char* name :
       {"tokenizer/vocab.json",
        "tokenizer_2/spiece.model",
        "scheduler/scheduler_config.json",
        "vae/config.json",
        "model_index.json"}) {
    CAPTURE(name);
    const Damaged model;
    fs::remove(model.path(name));
    fs::create_symlink("../../blobs/0123", model.path(name));
    model.check({fs::path(name).filename().string(), "a link to ../../blobs/0123"});
  }
}

TEST_CASE("a tokenizer needs a vocabulary") {
  const Damaged model;
  fs::remove(model.path("tokenizer/merges.txt"));
  write_file(model.path("tokenizer_2/spiece.model"), "");
  model.check(
      {"tokenizer: holds special_tokens_map.json, tokenizer_config.json, vocab.json; expected",
       "tokenizer_2: holds special_tokens_map.json, spiece.model"});
}

TEST_CASE("without model_index.json the family says what is whole") {
  const Damaged model;
  fs::remove(model.path("model_index.json"));
  SaveOptions options = model.tiny.options();
  options.loras = {};
  CHECK_NOTHROW(save(options));
  fs::remove_all(options.output);
  fs::remove_all(model.path("tokenizer"));
  model.check({"Missing from what such a folder holds:\n  tokenizer: there is no such folder"});
  fs::remove_all(model.path("transformer"));
  model.check({"transformer: there is no such folder"});
}

TEST_CASE("what model_index.json says is not there need not be") {
  const Damaged model;
  replace_in(
      model.path("model_index.json"), R"(["transformers", "T5EncoderModel"])", "[null, null]");
  fs::remove_all(model.path("text_encoder_2"));
  replace_in(
      model.path("model_index.json"), R"(["transformers", "T5TokenizerFast"])", "[null, null]");
  SaveOptions options = model.tiny.options();
  options.loras = {};
  CHECK_NOTHROW(save(options));
  const VerifyReport report = verify({.folder = options.output});
  CHECK(report.passed());
  CHECK(report.absent == std::vector<std::string>{"text_encoder_2"});
  const auto run = run_program({"verify", options.output.string()});
  CHECK(run.status == 0);
  CHECK_FALSE(contains(run.out, "Verified."));
  CHECK(contains(run.out, "mflux generate cannot use it without text_encoder_2."));
}

TEST_CASE("a transformer alone is saved as what it is") {
  const TinySave tiny;
  const auto check = [&](const std::string& model) {
    CAPTURE(model);
    SaveOptions options = tiny.options();
    options.model = model;
    save(options);
    const VerifyReport report =
        verify({.folder = options.output, .base = options.model, .loras = options.loras});
    for (const Check& c : report.checks) CHECK_MESSAGE(c.passed, (c.name + ": " + c.detail));
    CHECK(report.absent.size() == 5);
    CHECK(
        fs::exists(options.output / "transformer/config.json") == !model.ends_with(".safetensors"));
    CHECK_FALSE(fs::exists(options.output / "config.json"));
    const auto run = run_program({"verify", options.output.string()});
    CHECK(run.status == 0);
    CHECK_FALSE(contains(run.out, "Verified."));
    fs::remove_all(options.output);
  };
  check(tiny.path("model/transformer"));  // a transformer's own folder
  fs::copy(tiny.path("model/transformer"), tiny.path("repository"));
  check(tiny.path("repository"));
  fs::create_directory(tiny.path("alone"));
  fs::copy(tiny.path("model/transformer"), tiny.path("alone/transformer"));
  check(tiny.path("alone"));
  SaveOptions options = tiny.options("comfy");
  options.bits = {};
  options.loras = {};
  options.layout = Layout::comfyui;
  save(options);
  check(tiny.path("comfy/model.safetensors"));
}

TEST_CASE("a transformer's own folder is compared and inspected as one") {
  const TinySave tiny;
  fs::copy(tiny.path("model/transformer"), tiny.path("repository"));
  const auto run = run_program({"inspect", tiny.path("repository")});
  CHECK(run.status == 0);
  CHECK(contains(run.out, "FLUX.1 (dev)"));
  const auto same =
      run_program({"compare", tiny.path("repository"), tiny.path("model/transformer")});
  CHECK_MESSAGE(same.status == 0, (same.out + same.err));
}

TEST_CASE("a shard or an index given as a model is told from one") {
  const TinySave tiny;
  const auto check = [&](const std::string& model, const std::string& what) {
    CAPTURE(model);
    SaveOptions options = tiny.options();
    options.model = model;
    const std::string message = error_of([&] { save(options); });
    CHECK_MESSAGE(message.starts_with(model + ": this is " + what), message);
    CHECK_MESSAGE(message.ends_with("Give the folder instead: " + tiny.path("model")), message);
  };
  const std::string stem = tiny.path("model/transformer/diffusion_pytorch_model");
  check(stem + "-00001-of-00002.safetensors", "one shard of 2");
  check(stem + "-00002-of-00002.safetensors", "one shard of 2");
  check(stem + ".safetensors.index.json", "the index of a model's files");
  SaveOptions options = tiny.options("saved");
  options.max_shard_bytes = 300'000;
  save(options);
  fs::remove(tiny.path("saved/model_index.json"));
  options.model = tiny.path("saved/transformer/1.safetensors");
  options.output = tiny.path("out");
  const std::string message = error_of([&] { save(options); });
  CHECK_MESSAGE(contains(message, "1.safetensors: this is one shard of "), message);
  CHECK_MESSAGE(message.ends_with("Give the folder instead: " + tiny.path("saved")), message);
}

TEST_CASE("verify never accepts what generate cannot use") {
  struct Case {
    const char* name;
    std::function<void(const fs::path&)> change;
    const char* words;
  };
  const std::vector<Case> table = {
      {"no VAE", [](const fs::path& out) { fs::remove_all(out / "vae"); }, "vae: there is no"},
      {"no tokenizer",
       [](const fs::path& out) { fs::remove_all(out / "tokenizer_2"); },
       "tokenizer_2: there is no such folder"},
      {"no text encoder",
       [](const fs::path& out) { fs::remove_all(out / "text_encoder"); },
       "text_encoder: there is no such folder"},
      {"a tokenizer cut off",
       [](const fs::path& out) { fs::resize_file(out / "tokenizer/vocab.json", 100); },
       "vocab.json"},
      {"a tokenizer of another model",
       [](const fs::path& out) {
         fs::remove_all(out / "tokenizer_2");
         fs::copy(out / "tokenizer", out / "tokenizer_2");
       },
       "the tokenizer is not T5's"},
      {"another depth",
       [](const fs::path& out) {
         replace_in(out / "transformer/config.json", "\"num_layers\": 1", "\"num_layers\": 2");
       },
       "num_layers is 2, expected 1"},
      {"no guidance",
       [](const fs::path& out) {
         replace_in(out / "transformer/config.json", "embeds\": true", "embeds\": false");
       },
       "guidance_embeds is false, expected true"},
  };
  for (const Case& c : table) {
    CAPTURE(c.name);
    for (const bool receipt : {true, false}) {
      const TinySave tiny;
      const SaveOptions options = tiny.options();
      save(options);
      if (!receipt) fs::remove(options.output / "bake.json");
      CHECK(run_program({"verify", options.output.string()}).status == 0);
      c.change(options.output);
      const auto run = run_program({"verify", options.output.string()});
      CHECK(run.status == 4);
      CHECK_FALSE(contains(run.out, "Verified."));
      CHECK_MESSAGE(contains(run.out, c.words), run.out);
    }
  }
}

TEST_CASE("verify reads the scheduler as generate does") {
  const TinySave tiny(TinyFamily::qwen);
  save(tiny.options());
  const fs::path file = tiny.folder / "out/scheduler/scheduler_config.json";
  for (const char* bad : {R"({"shift": "1"})", R"({"use_dynamic_shifting": 1})", "[]"}) {
    write_file(file, bad);
    const auto run = run_program({"verify", tiny.path("out")});
    CHECK(run.status == 4);
    CHECK_MESSAGE(contains(run.out, "FAILED  model: " + file.string() + ": "), run.out);
  }
}

TEST_CASE("a config.json that contradicts the tensors is refused before anything is written") {
  struct Case {
    TinyFamily family;
    const char* file;
    const char* from;
    const char* to;
    const char* words;
  };
  const std::vector<Case> table = {
      {TinyFamily::flux,
       "transformer",
       "\"guidance_embeds\": true",
       "\"guidance_embeds\": false",
       "guidance_embeds is false, expected true"},
      {TinyFamily::flux,
       "text_encoder_2",
       "\"num_heads\": 64",
       "\"num_heads\": \"64\"",
       "num_heads is \"64\", expected 64"},
      {TinyFamily::flux,
       "vae",
       "\"latent_channels\": 16",
       "\"latent_channels\": 4",
       "latent_channels is 4, expected 16"},
      {TinyFamily::qwen,
       "transformer",
       "\"num_attention_heads\": 1",
       "\"num_attention_heads\": 1180591620717411303424",
       "num_attention_heads is 1.18"},
      {TinyFamily::qwen,
       "text_encoder",
       "\"num_key_value_heads\": 1",
       "\"num_key_value_heads\": null",
       "num_key_value_heads is null, expected 1"},
      {TinyFamily::qwen, "vae", "\"z_dim\": 16", "\"z_dim\": -16", "z_dim is -16, expected 16"},
  };
  for (const Case& c : table) {
    CAPTURE(c.words);
    const Damaged model(c.family);
    const std::string name = std::string(c.file) + "/config.json";
    replace_in(model.path(name), c.from, c.to);
    model.check({name + ": " + c.words});
    const auto run = run_program({"inspect", model.path("").parent_path().string()});
    CHECK(run.status == 0);
    CHECK_MESSAGE(contains(run.out, std::string(c.file) + " cannot be used: " + name), run.out);
  }
}

TEST_CASE("what a Mac leaves in a model goes nowhere") {
  const TinySave tiny;
  for (const char* name :
       {".DS_Store",
        "transformer/._diffusion_pytorch_model.safetensors",
        "tokenizer/.DS_Store",
        "tokenizer/._vocab.json",
        "scheduler/._scheduler_config.json",
        "._vae"}) {
    write_file(tiny.folder / "model" / name, "Mac OS X");
  }
  const SaveOptions options = tiny.options();
  save(options);
  for (const auto& [name, bytes] : testing::contents_of(options.output)) {
    CHECK_FALSE(contains(name, "._"));
    CHECK_FALSE(contains(name, ".DS_Store"));
  }
  write_file(options.output / "transformer/._0.safetensors", "Mac OS X");
  CHECK(verify({.folder = options.output}).passed());
}

}  // namespace
}  // namespace mflux
