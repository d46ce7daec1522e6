// SPDX-License-Identifier: MIT
#include "mflux/bake/listed_files.h"

#include <filesystem>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mflux/bake/receipt_seal.h"
#include "mflux/verify.h"
#include "tests/folders.h"
#include "tests/tiny_save.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::TinySave;
using testing::write_file;
using Json = nlohmann::ordered_json;

struct Saved {
  Saved() { save(tiny.options()); }
  fs::path out(std::string_view name) const { return tiny.folder / "out" / name; }

  // What the failed checks say; "" if all passed.
  std::string failed() const {
    std::string text;
    for (const Check& check : verify({.folder = tiny.folder / "out"}).checks) {
      if (!check.passed) text += check.name + ": " + check.detail + "\n";
    }
    return text;
  }

  // A receipt that somebody changed, sealed again or of a version without a seal.
  template <typename Change>
  void change_receipt(Change change, bool seal = true) const {
    Json json = Json::parse(testing::read_file(out("bake.json")));
    change(json);
    json.erase(std::string(kReceiptSeal));
    write_file(out("bake.json"), seal ? seal_receipt(json.dump(1)) : json.dump(1) + "\n");
  }

  TinySave tiny;
};

void erase_outputs(Json& json, std::string_view part) {
  Json& outputs = json["outputs"];
  for (size_t i = outputs.size(); i-- > 0;) {
    if (contains(outputs[i]["file"].get<std::string>(), part)) outputs.erase(i);
  }
}

TEST_CASE("a file that a program may load and the receipt does not list is found") {
  const Saved saved;
  REQUIRE(saved.failed() == "");
  for (const char* name :
       {"transformer/extra.safetensors",
        "transformer/.hidden.safetensors",
        "transformer/MODEL.SAFETENSORS",
        "vae/diffusion_pytorch_model.bin",
        "text_encoder/pytorch_model.bin.index.json",
        "transformer/other.safetensors.index.json",
        "config.json",
        "transformer/adapter_config.json",
        "tokenizer/added_tokens.json",
        "tokenizer/vocab.txt",
        "tokenizer/chat_template.jinja",
        "tokenizer_2/tokenizer.model",
        "transformer/modeling.py",
        "pipeline.py",
        "new/model.ckpt",
        "a/b/c/weights.pt",
        "model.gguf"}) {
    CAPTURE(name);
    const bool new_folder = !fs::exists(saved.out(name).parent_path());
    fs::create_directories(saved.out(name).parent_path());
    write_file(saved.out(name), "{}");
    CHECK(
        contains(saved.failed(), fmt::format("nothing else: the receipt does not list {},", name)));
    fs::remove(saved.out(name));
    if (new_folder) fs::remove_all(saved.out(fs::path(name).begin()->string()));
  }
  CHECK(saved.failed() == "");
}

TEST_CASE("what lies beside a model for people or by the system is left alone") {
  const Saved saved;
  for (const char* name :
       {"README.md",
        "LICENSE",
        "LICENSE.txt",
        ".gitattributes",
        ".DS_Store",
        "transformer/.DS_Store",
        "transformer/._0.safetensors",
        "report.html",
        "picture.png",
        "picture.metadata.json",
        "notes.txt",
        ".git/refs/heads/main.json",
        ".cache/huggingface/trees/1.json"}) {
    CAPTURE(name);
    fs::create_directories(saved.out(name).parent_path());
    write_file(saved.out(name), "x");
    CHECK(saved.failed() == "");
  }
}

TEST_CASE("links to files and folders that are not listed are found, links in a circle end") {
  const Saved saved;
  fs::create_directories(saved.tiny.folder / "elsewhere");
  write_file(saved.tiny.folder / "elsewhere/x.bin", "x");
  SUBCASE("a file") {
    fs::create_symlink(saved.tiny.folder / "elsewhere/x.bin", saved.out("vae/y.bin"));
    CHECK(contains(saved.failed(), "does not list vae/y.bin"));
  }
  SUBCASE("a link that leads nowhere") {
    fs::create_symlink("nowhere", saved.out("vae/y.bin"));
    CHECK(contains(saved.failed(), "does not list vae/y.bin"));
  }
  SUBCASE("a folder") {
    fs::create_directory_symlink(saved.tiny.folder / "elsewhere", saved.out("more"));
    CHECK(contains(saved.failed(), "does not list more/x.bin"));
  }
  SUBCASE("circles") {
    fs::create_directory_symlink("..", saved.out("vae/a"));
    fs::create_directory_symlink(".", saved.out("vae/b"));
    CHECK(saved.failed() == "");
  }
}

TEST_CASE("a receipt that lists too little is found though it is sealed, or of an older version") {
  const Saved saved;
  const fs::path shard = saved.out("transformer/0.safetensors");
  for (const bool seal : {true, false}) {
    CAPTURE(seal);
    const std::string before = testing::read_file(saved.out("bake.json"));
    const auto failed_with = [&](auto change) {
      saved.change_receipt(change, seal);
      const std::string text = saved.failed();
      write_file(saved.out("bake.json"), before);
      return text;
    };
    CHECK(failed_with([](Json&) {}) == "");
    testing::flip_byte(shard, fs::file_size(shard) - 1);
    CHECK(contains(
        failed_with([](Json& json) { json["outputs"] = Json::array(); }), "0 of 1 shards"));
    testing::flip_byte(shard, fs::file_size(shard) - 1);
    CHECK(contains(
        failed_with([](Json& json) {
          json["outputs"] = Json::array();
          json["components"] = Json::object();
        }),
        "does not list model_index.json; scheduler/"));
    CHECK(contains(
        failed_with([](Json& json) { erase_outputs(json, "vae/0.safetensors"); }),
        "vae: 0 of 1 shards"));
    CHECK(contains(
        failed_with([](Json& json) { erase_outputs(json, "vae/model.safetensors.index"); }),
        "vae: no index"));
    CHECK(contains(
        failed_with([](Json& json) { erase_outputs(json, "vae/config.json"); }),
        "does not list vae/config.json"));
    CHECK(contains(
        failed_with([](Json& json) { erase_outputs(json, "tokenizer/vocab.json"); }),
        "does not list tokenizer/vocab.json"));
  }
}

TEST_CASE("a component that is listed and gone is found") {
  const Saved saved;
  fs::remove_all(saved.out("vae"));
  saved.change_receipt([](Json& json) { erase_outputs(json, "vae/"); });
  CHECK(contains(saved.failed(), "vae: 0 of 1 shards; vae: no index"));
}

TEST_CASE("the one file of --layout comfyui is answered for too") {
  const TinySave tiny;
  SaveOptions options = tiny.options();
  options.bits = {};
  options.layout = Layout::comfyui;
  save(options);
  const auto failed = [&] {
    std::string text;
    for (const Check& check : verify({.folder = options.output}).checks) {
      if (!check.passed) text += check.detail + "\n";
    }
    return text;
  };
  CHECK(failed() == "");
  write_file(options.output / "other.safetensors", "x");
  CHECK(contains(failed(), "does not list other.safetensors"));
  fs::remove(options.output / "other.safetensors");
  testing::replace_in(
      options.output / "bake.json", "\"model.safetensors\"", "\"model.safetensorz\"");
  CHECK(contains(failed(), "transformer: 0 of 1 shards"));
  CHECK(contains(failed(), "changed after the save"));
}

}  // namespace
}  // namespace mflux
