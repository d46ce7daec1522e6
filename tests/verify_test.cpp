// SPDX-License-Identifier: MIT
#include "mflux/verify.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "mflux/bake/receipt_seal.h"
#include "mflux/base/hash.h"
#include "tests/folders.h"
#include "tests/testing.h"
#include "tests/tiny_save.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::error_of;
using testing::flip_byte;
using testing::replace_in;
using testing::TinyFamily;
using testing::TinyLora;
using testing::TinySave;
using testing::write_file;

// A saved folder and what verify says of it.
struct Saved {
  Saved() {
    SaveOptions options = tiny.options();
    options.max_shard_bytes = 300'000;
    save(options);
  }

  fs::path out(std::string_view name) const { return tiny.folder / "out" / name; }
  VerifyOptions files_only() const { return {.folder = tiny.folder / "out"}; }
  VerifyOptions with_base() const {
    return {
        .folder = tiny.folder / "out",
        .base = tiny.path("model"),
        .loras = {{.name = tiny.path("lora.safetensors")}}};
  }

  TinySave tiny;
};

std::string all_of(const VerifyReport& report) {
  std::string text;
  for (const Check& check : report.checks) {
    text += fmt::format("{} {}: {}\n", check.passed ? "ok" : "FAILED", check.name, check.detail);
  }
  return text;
}

// The details of the checks that failed; the test fails if none did.
std::string found(const VerifyOptions& options) {
  const VerifyReport report = verify(options);
  CHECK_FALSE(report.passed());
  std::string text;
  for (const Check& check : report.checks) {
    if (!check.passed) text += check.name + ": " + check.detail + "\n";
  }
  return text;
}

TEST_CASE("a folder just saved passes every check, with and without its base") {
  const Saved saved;
  const VerifyReport files = verify(saved.files_only());
  CHECK_MESSAGE(files.passed(), all_of(files));
  const VerifyReport base = verify(saved.with_base());
  CHECK_MESSAGE(base.passed(), all_of(base));
  CHECK(base.checks.size() == files.checks.size() + 2);
  CHECK(contains(all_of(base), "tensors equal bit for bit"));
  CHECK(contains(all_of(files), "transformer: quantization level: 8, "));
}

TEST_CASE("every layout, mode and way of being quantized verifies") {
  for (const TinyFamily family : {TinyFamily::flux, TinyFamily::qwen}) {
    CAPTURE(family);
    const TinySave tiny(family);
    const auto check = [&](std::string_view name, auto change) {
      CAPTURE(name);
      SaveOptions options = tiny.options(name);
      change(options);
      save(options);
      const VerifyReport report =
          verify({.folder = options.output, .base = options.model, .loras = options.loras});
      CHECK_MESSAGE(report.passed(), all_of(report));
    };
    check("at-load", [](SaveOptions& o) { o.quantize_at_load = true; });
    check("full", [](SaveOptions& o) { o.bits = {}; });
    for (const QuantMode mode : {QuantMode::mxfp4, QuantMode::mxfp8, QuantMode::nvfp4}) {
      check(quant_mode_name(mode), [&](SaveOptions& o) {
        o.bits = {};
        o.mode = mode;
      });
    }
    for (const int bits : {2, 3, 4, 5, 6, 8}) {
      check(fmt::format("{} bits", bits), [&](SaveOptions& o) {
        o.bits = bits;
        o.group_size = 32;
      });
    }
    check("diffusers", [](SaveOptions& o) {
      o.bits = {};
      o.layout = Layout::diffusers;
    });
  }
}

TEST_CASE("one flipped byte anywhere is found and its file is named") {
  const Saved saved;
  for (const auto& entry : fs::recursive_directory_iterator(saved.tiny.folder / "out")) {
    if (!entry.is_regular_file()) continue;
    const std::string name = fs::relative(entry.path(), saved.tiny.folder / "out").string();
    CAPTURE(name);
    const uint64_t size = entry.file_size();
    for (const uint64_t offset : {uint64_t{0}, size / 2, size - 1}) {
      flip_byte(entry.path(), offset);
      const std::string text = found(saved.files_only());
      CHECK((contains(text, name + " has XXH3-128 ") || contains(text, "bake.json: ")));
      flip_byte(entry.path(), offset);
    }
  }
  CHECK(verify(saved.files_only()).passed());
}

TEST_CASE("a file that is missing, too long or too short is found") {
  const Saved saved;
  const fs::path shard = saved.out("transformer/1.safetensors");
  const uint64_t size = fs::file_size(shard);
  fs::rename(shard, saved.tiny.folder / "away");
  const std::string missing = found(saved.files_only());
  CHECK(contains(missing, "transformer/1.safetensors is missing"));
  CHECK(contains(missing, "names 1.safetensors, which is not there"));
  fs::rename(saved.tiny.folder / "away", shard);
  fs::resize_file(shard, size - 1);
  CHECK(
      contains(found(saved.files_only()), fmt::format("has {} bytes, the receipt says", size - 1)));
  fs::resize_file(shard, size + 1);
  CHECK(contains(found(saved.files_only()), "Some of the data belongs to no tensor"));
}

TEST_CASE("a folder without an index is an unfinished save") {
  const Saved saved;
  fs::remove(saved.out("transformer/model.safetensors.index.json"));
  CHECK(contains(found(saved.files_only()), "an unfinished save"));
}

TEST_CASE("a changed index is found, by what it says and by its hash") {
  const Saved saved;
  const fs::path index = saved.out("transformer/model.safetensors.index.json");
  const std::string before = testing::read_file(index);
  const auto changed = [&](std::string_view from, std::string_view to) {
    replace_in(index, from, to);
    const std::string text = found(saved.files_only());
    write_file(index, before);
    return text;
  };
  CHECK(contains(changed("\"total_size\": ", "\"total_size\": 1"), "total size: "));
  CHECK(contains(changed("\"0.safetensors\"", "\"1.safetensors\""), "index and headers: "));
  CHECK(
      contains(changed("\"0.safetensors\"", "\"../vae/0.safetensors\""), "a file in this folder"));
  CHECK(contains(changed("x_embedder.weight", "y_embedder.weight"), "index and headers: "));
  CHECK(
      contains(changed("\"quantization_level\": \"8\"", "\"quantization_level\": \"4\""), "XXH3"));
  CHECK(contains(changed("{", "["), "not a JSON index"));
}

TEST_CASE("a changed receipt is found") {
  const Saved saved;
  const fs::path receipt = saved.out("bake.json");
  const std::string before = testing::read_file(receipt);
  const auto changed = [&](std::string_view from, std::string_view to, const VerifyOptions& how) {
    replace_in(receipt, from, to);
    const std::string text = found(how);
    write_file(receipt, before);
    return text;
  };
  const VerifyOptions files = saved.files_only();
  CHECK(contains(changed("{", "[", files), "not a receipt"));
  CHECK(
      contains(changed("\"format_version\": 1", "\"format_version\": 2", files), "not a receipt"));
  CHECK(contains(changed("\"outputs\"", "\"output\"", files), "not a receipt"));
  const std::string model = "model/transformer/diffusion_pytorch_model-00001-of-00002.safetensors";
  const std::string hash = hash_file(saved.tiny.path(model));
  CHECK(contains(
      changed(hash, std::string(32, '0'), saved.with_base()), "not the model that was baked"));
  CHECK(contains(changed("\"quantize\": 8", "\"quantize\": 4", saved.with_base()), "second bake"));
  CHECK(contains(
      changed("\"scale\": 1.0", "\"scale\": 0.5", saved.with_base()), "the receipt says 0.5"));
}

TEST_CASE("another base or LoRA than was baked is found") {
  const Saved saved;
  const std::string model = "model/transformer/diffusion_pytorch_model-00002-of-00002.safetensors";
  flip_byte(saved.tiny.path(model), fs::file_size(saved.tiny.path(model)) - 1);
  CHECK(contains(found(saved.with_base()), "not the model that was baked: transformer/"));
  flip_byte(saved.tiny.path(model), fs::file_size(saved.tiny.path(model)) - 1);

  VerifyOptions other = saved.with_base();
  other.loras.front().scale = 0.999;
  CHECK(contains(found(other), "scale 0.999, the receipt says 1"));
  other.loras.clear();
  CHECK(contains(found(other), "0 given, the receipt lists 1"));
  other = saved.with_base();
  const std::string lora = saved.tiny.path("lora.safetensors");
  flip_byte(lora, fs::file_size(lora) - 1);
  CHECK(contains(found(other), "not the file that was baked"));
}

TEST_CASE("a forged shard with a forged receipt is found by baking again") {
  const Saved saved;
  const fs::path shard = saved.out("transformer/1.safetensors");
  const std::string before = hash_file(shard);
  flip_byte(shard, fs::file_size(shard) - 1);
  replace_in(saved.out("bake.json"), before, hash_file(shard));
  CHECK(contains(found(saved.files_only()), "receipt's own hash: "));
  std::string receipt = testing::read_file(saved.out("bake.json"));
  receipt.resize(receipt.rfind(",\n \"" + std::string(kReceiptSeal)));
  write_file(saved.out("bake.json"), seal_receipt(receipt + "\n}"));
  CHECK(verify(saved.files_only()).passed());
  const std::string text = found(saved.with_base());
  CHECK(contains(text, "1 tensor(s) differ: transformer/1.safetensors: "));
}

TEST_CASE("a receipt cannot point outside the folder") {
  const Saved saved;
  write_file(saved.tiny.folder / "secret", "x");
  for (const char* path :
       {"../secret", "/etc/hostname", "vae/../../secret", "../x/0.safetensors"}) {
    CAPTURE(path);
    const std::string before = testing::read_file(saved.out("bake.json"));
    const size_t outputs = before.find("\"outputs\"");
    std::string text = before;
    text.replace(
        text.find("\"vae/", outputs),
        text.find(',', text.find("\"vae/", outputs)) - text.find("\"vae/", outputs),
        fmt::format("\"{}\"", path));
    write_file(saved.out("bake.json"), text);
    CHECK(contains(found(saved.files_only()), "expected a file inside the folder"));
    write_file(saved.out("bake.json"), before);
  }
}

TEST_CASE("LoRA tensors left in a folder are found") {
  const Saved saved;
  const std::string name = "transformer_blocks.0.attn.to_q.lora_A.weight";
  fs::create_directories(saved.tiny.folder / "other/transformer");
  testing::write_safetensors(
      saved.tiny.folder / "other/transformer/0.safetensors", {testing::f32_tensor(name, {1}, {1})});
  CHECK(contains(found({.folder = saved.tiny.folder / "other"}), name));
}

TEST_CASE("what cannot be verified at all is an error") {
  const Saved saved;
  fs::create_directories(saved.tiny.folder / "empty");
  CHECK(contains(
      error_of([&] { verify({.folder = saved.tiny.folder / "absent"}); }),
      "absent: no such folder"));
  CHECK(contains(
      error_of([&] { verify({.folder = saved.tiny.folder / "empty"}); }),
      "holds neither a receipt"));
  fs::remove(saved.out("bake.json"));
  CHECK(verify(saved.files_only()).passed());  // as far as it goes, and it says so
  CHECK(contains(all_of(verify(saved.files_only())), "none (bake.json is not there)"));
  CHECK(contains(error_of([&] { verify(saved.with_base()); }), "the bake cannot be repeated"));
}

}  // namespace
}  // namespace mflux
