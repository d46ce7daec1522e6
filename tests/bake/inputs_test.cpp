// SPDX-License-Identifier: MIT
// Files that change while a save or a second bake reads them, and names that no receipt can hold.
#include "mflux/bake/inputs.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "mflux/base/hash.h"
#include "mflux/job.h"
#include "mflux/verify.h"
#include "tests/folders.h"
#include "tests/tiny_save.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::error_of;
using testing::flip_byte;
using testing::TinySave;
using testing::write_file;

constexpr const char* kShard =
    "model/transformer/diffusion_pytorch_model-00001-of-00002.safetensors";

// A model and a LoRA that lie there for a while already.
struct Old : TinySave {
  Old() {
    for (const auto& entry : fs::recursive_directory_iterator(folder.path())) {
      if (!entry.is_regular_file()) continue;
      fs::last_write_time(entry.path(), fs::file_time_type::clock::now() - std::chrono::hours(1));
    }
  }

  void replace(const std::string& file) const {
    fs::copy_file(path(file), path("other"));
    flip_byte(path("other"), fs::file_size(path("other")) - 1);
    fs::rename(path("other"), path(file));
  }

  void overwrite(const std::string& file) const {
    flip_byte(path(file), fs::file_size(path(file)) - 1);
  }
};

// A save whose log runs `change` once, at the first line that holds `moment`.
std::string error_of_save(
    const SaveOptions& options, std::string_view moment, const std::function<void()>& change) {
  bool changed = false;
  SaveEvents events;
  events.headline = [&](std::string_view line) {
    if (changed || !contains(line, moment)) return;
    changed = true;
    change();
  };
  const std::string error = error_of([&] { save(options, events); });
  CHECK(changed);
  return error;
}

TEST_CASE("an input that changes while a save reads it is named, and nothing is published") {
  for (const std::string file :
       {"lora.safetensors",
        kShard,
        "model/vae/diffusion_pytorch_model.safetensors",
        "model/transformer/config.json",
        "model/tokenizer/vocab.json",
        "model/model_index.json"}) {
    for (const char* moment : {"Merging", "Saving vae", "Successfully merged"}) {
      CAPTURE(file);
      CAPTURE(moment);
      const Old replaced;
      const std::string error =
          error_of_save(replaced.options(), moment, [&] { replaced.replace(file); });
      CHECK(contains(error, replaced.path(file) + ": was replaced by another file"));
      CHECK_FALSE(fs::exists(replaced.path("out")));
      const Old written;
      const std::string other =
          error_of_save(written.options(), moment, [&] { written.overwrite(file); });
      CHECK(contains(other, written.path(file) + ": was written to while it was being read"));
      CHECK_FALSE(fs::exists(written.path("out")));
    }
  }
}

TEST_CASE("a folder that was to be replaced stays, and so do the outputs of a job") {
  const Old tiny;
  SaveOptions options = tiny.options();
  save(options);
  const testing::FolderContents before = testing::contents_of(tiny.path("out"));
  options.bits = 4;
  options.overwrite = true;
  const std::string error =
      error_of_save(options, "Merging", [&] { tiny.replace("lora.safetensors"); });
  CHECK(contains(error, tiny.path("lora.safetensors") + ": was replaced by another file"));
  CHECK(testing::contents_of(tiny.path("out")) == before);

  JobOptions job{.model = tiny.path("model"), .outputs = {tiny.options("a"), tiny.options("b")}};
  SaveEvents events;
  bool changed = false;
  events.headline = [&](std::string_view) {
    if (!changed) tiny.overwrite("model/text_encoder/config.json");
    changed = true;
  };
  CHECK(contains(
      error_of([&] { save_job(job, events); }),
      tiny.path("model/text_encoder/config.json") + ": was written to while it was being read"));
  CHECK_FALSE(fs::exists(tiny.path("a")));
  CHECK_FALSE(fs::exists(tiny.path("b")));
}

TEST_CASE("an input that is removed while a save reads it is named") {
  for (const std::string file : {"lora.safetensors", kShard, "model/tokenizer/vocab.json"}) {
    CAPTURE(file);
    const Old tiny;
    const std::string error =
        error_of_save(tiny.options(), "Merging", [&] { fs::remove(tiny.path(file)); });
    CHECK(contains(error, tiny.path(file) + ": cannot "));
    CHECK_FALSE(fs::exists(tiny.path("out")));
  }
}

TEST_CASE("the receipt has the hashes of the bytes that were read, whatever a path led to then") {
  for (const std::string file : {"lora.safetensors", kShard}) {
    CAPTURE(file);
    const Old tiny;
    const std::string hash = hash_file(tiny.path(file));
    SaveEvents events;
    events.headline = [&](std::string_view line) {
      if (contains(line, "Merging")) {
        fs::rename(tiny.path(file), tiny.path("aside"));
        write_file(tiny.path(file), "something else");
      } else if (contains(line, "Saving vae")) {
        fs::rename(tiny.path("aside"), tiny.path(file));
      }
    };
    save(tiny.options(), events);
    CHECK(contains(testing::read_file(tiny.folder / "out/bake.json"), hash));
    CHECK(verify({.folder = tiny.folder / "out",
                  .base = tiny.path("model"),
                  .loras = {{.name = tiny.path("lora.safetensors")}}})
              .passed());
  }
}

TEST_CASE("a base or LoRA that changes while verify bakes again fails the check") {
  for (const std::string file : {"lora.safetensors", kShard, "model/vae/config.json"}) {
    CAPTURE(file);
    const Old tiny;
    save(tiny.options());
    bool changed = false;
    SaveEvents events;
    events.progress = [&](const SaveProgress&) {
      if (!changed) tiny.replace(file);
      changed = true;
    };
    const VerifyReport report = verify(
        {.folder = tiny.folder / "out",
         .base = tiny.path("model"),
         .loras = {{.name = tiny.path("lora.safetensors")}}},
        events);
    REQUIRE(changed);
    const auto failed = std::ranges::find(report.checks, false, &Check::passed);
    REQUIRE(failed != report.checks.end());
    CHECK(failed->name == "second bake");
    CHECK(contains(failed->detail, tiny.path(file) + ": was replaced by another file"));
  }
}

TEST_CASE("a file name that is not UTF-8 is refused in the plan") {
  const Old tiny;
  SaveOptions options = tiny.options();
  const auto refused = [&](const std::string& shown) {
    const std::string error = error_of([&] { save(options); });
    CAPTURE(error);
    CHECK(contains(error, "is not UTF-8"));
    CHECK(contains(error, shown));
    CHECK_FALSE(fs::exists(tiny.path("out")));
  };
  SUBCASE("a shard") {
    fs::rename(
        tiny.path("model/vae/diffusion_pytorch_model.safetensors"),
        tiny.path("model/vae/a\xff.safetensors"));
    refused("vae: byte 1 of the name 'a\\xff.safetensors'");
  }
  SUBCASE("a copied file") {
    write_file(tiny.path("model/tokenizer/\xc3.txt"), "x");
    refused("byte 10 of the name 'tokenizer/\\xc3.txt'");
  }
  SUBCASE("a folder that is copied") {
    fs::create_directory(tiny.path("model/scheduler/\xed\xa0\x80"));
    write_file(tiny.path("model/scheduler/\xed\xa0\x80/x.txt"), "x");
    refused("byte 10 of the name 'scheduler/\\xed\\xa0\\x80/x.txt'");
  }
  SUBCASE("a LoRA") {
    options.loras.front().name = tiny.path("style\xfe.safetensors");
    fs::rename(tiny.path("lora.safetensors"), options.loras.front().name);
    refused("'style\\xfe.safetensors'");
  }
  SUBCASE("a LoRA in a folder") {
    fs::create_directory(tiny.path("style"));
    fs::rename(tiny.path("lora.safetensors"), tiny.path("style/\x80.safetensors"));
    options.loras.front().name = tiny.path("style");
    refused("'\\x80.safetensors'");
  }
}

TEST_CASE("names that the receipt does not hold may have any bytes") {
  const Old tiny;
  fs::rename(tiny.path("model"), tiny.path("m\xff"));
  fs::create_directory(tiny.path("l\xff"));
  fs::rename(tiny.path("lora.safetensors"), tiny.path("l\xff/lora.safetensors"));
  SaveOptions options = tiny.options("o\xff");
  options.model = tiny.path("m\xff");
  options.loras.front().name = tiny.path("l\xff/lora.safetensors");
  save(options);
  CHECK(verify({.folder = options.output, .base = options.model, .loras = options.loras}).passed());
}

}  // namespace
}  // namespace mflux
