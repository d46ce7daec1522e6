// SPDX-License-Identifier: MIT
#include "mflux/bake/receipt.h"

#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mflux/base/hash.h"
#include "mflux/save.h"
#include "tests/testing.h"
#include "tests/tiny_save.h"

namespace mflux {
namespace {

using testing::contains;
using testing::error_of;
using testing::TinyFamily;
using testing::TinyLora;
using testing::TinySave;
using Json = nlohmann::ordered_json;

bool same(const FileRecord& a, const FileRecord& b) {
  return a.file == b.file && a.bytes == b.bytes && a.xxh3_128 == b.xxh3_128 && a.sha256 == b.sha256;
}

TEST_CASE("a receipt is read back as it was written") {
  const TinySave tiny;
  SaveOptions options = tiny.options();
  options.bits = 4;
  options.group_size = 32;
  options.base_model = "dev";
  options.min_kept = 0.25;
  options.max_shard_bytes = 123'456;
  options.on_lora_failure = OnLoraFailure::skip_layer;
  options.rounding = BakeRounding::delta;
  options.escalate = true;
  options.sha256 = true;
  options.loras.front().scale = 0.1;
  const Receipt written = save(options).receipt;
  const Receipt read =
      parse_receipt(testing::read_file(tiny.folder / "out/bake.json"), "bake.json");
  CHECK(read.program_version == written.program_version);
  CHECK(read.family == "flux");
  CHECK(read.options.bits == 4);
  CHECK(read.options.group_size == 32);
  CHECK(read.options.mode == QuantMode::affine);
  CHECK(read.options.base_model == "dev");
  CHECK(read.options.max_shard_bytes == 123'456);
  CHECK(read.options.on_lora_failure == OnLoraFailure::skip_layer);
  CHECK(read.options.rounding == BakeRounding::delta);
  CHECK(read.options.escalate);
  CHECK(read.options.min_kept == 0.25);
  CHECK(read.options.layout == Layout::mflux);
  CHECK_FALSE(read.options.quantize_at_load);
  REQUIRE(read.inputs.size() == written.inputs.size());
  for (size_t i = 0; i < read.inputs.size(); ++i) CHECK(same(read.inputs[i], written.inputs[i]));
  REQUIRE(read.outputs.size() == written.outputs.size());
  for (size_t i = 0; i < read.outputs.size(); ++i) CHECK(same(read.outputs[i], written.outputs[i]));
  REQUIRE(read.loras.size() == 1);
  CHECK(same(read.loras[0].file, written.loras[0].file));
  CHECK(read.loras[0].scale == 0.1);
  CHECK(read.loras[0].kept == written.loras[0].kept);
  CHECK(read.loras[0].layers == 20);
}

TEST_CASE("a receipt has one record for every key of a LoRA, used or not") {
  const TinySave tiny;
  SaveOptions options = tiny.options();
  write_tiny_lora(tiny.folder / "misfit", TinyFamily::flux, TinyLora::misfit, TinySave::kSize);
  write_tiny_lora(tiny.folder / "kohya", TinyFamily::flux, TinyLora::kohya, TinySave::kSize);
  options.loras = {{.name = tiny.path("misfit")}, {.name = tiny.path("kohya"), .scale = 0.5}};
  options.on_lora_failure = OnLoraFailure::skip_layer;
  save(options);
  const Json json = Json::parse(testing::read_file(tiny.folder / "out/bake.json"));
  REQUIRE(json["loras"].size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    const File file = File::open(options.loras[i].name);
    const safetensors::Header header = safetensors::read_header(file);
    const Json& keys = json["loras"][i]["keys"];
    CHECK(keys.size() == header.tensors.size());
    for (const Json& key : keys) {
      CAPTURE(key.dump());
      CHECK(header.find(key["key"].get<std::string>()) != nullptr);
      CHECK((key.contains("skipped") != key.contains("tensors")));
      if (key.contains("skipped")) CHECK_FALSE(key["skipped"].get<std::string>().empty());
    }
  }
  CHECK(json["loras"][0]["dialect"] == "diffusers");
  CHECK(json["loras"][1]["dialect"] == "kohya");
  CHECK(json["loras"][1]["scale"] == 0.5);
  const Json& key = json["loras"][1]["keys"][0];
  CHECK(key["rank"] == 8);
  CHECK(key["alpha"] == 4.0);
  CHECK(key["alpha_source"] == "tensor");
}

TEST_CASE("a receipt tells the share kept and the error of every baked tensor") {
  const TinySave tiny;
  save(tiny.options());
  const Json json = Json::parse(testing::read_file(tiny.folder / "out/bake.json"));
  REQUIRE(json["baked"].size() == 20);
  for (const Json& tensor : json["baked"]) {
    CAPTURE(tensor.dump());
    CHECK(tensor["tensor"].get<std::string>().starts_with("transformer/"));
    CHECK(tensor["stored"] == "8-bit affine, group 64");
    CHECK(tensor["kept"]["0"].get<double>() == doctest::Approx(1).epsilon(0.02));
    CHECK(tensor["relative_error"].get<double>() > 0);
    CHECK(tensor["relative_error"].get<double>() < 0.02);
    CHECK(tensor["max_error"].get<double>() > 0);
  }
}

TEST_CASE("what is no receipt is refused with its name") {
  const TinySave tiny;
  save(tiny.options());
  const Json good = Json::parse(testing::read_file(tiny.folder / "out/bake.json"));
  const auto refusal = [&](const std::string& text) {
    return error_of([&] { parse_receipt(text, "x/bake.json"); });
  };
  CHECK(refusal(good.dump()) == "");
  for (const std::string text : {"", "[]", "null", "7", "{}", R"({"format":"other"})"}) {
    CAPTURE(text);
    CHECK(contains(refusal(text), "x/bake.json: not a receipt"));
  }
  for (const char* key :
       {"program_version", "family", "options", "inputs", "loras", "outputs", "format_version"}) {
    CAPTURE(key);
    Json without = good;
    without.erase(key);
    CHECK(contains(refusal(without.dump()), "x/bake.json: not a receipt"));
    Json wrong = good;
    wrong[key] = Json::array({1});
    CHECK(contains(refusal(wrong.dump()), "x/bake.json: not a receipt"));
  }
  for (const char* key : {"q_mode", "layout", "on_lora_failure"}) {
    CAPTURE(key);
    Json unknown = good;
    unknown["options"][key] = "of the future";
    CHECK(contains(refusal(unknown.dump()), "an option that this version does not know"));
  }
}

TEST_CASE("layouts and policies are known by the names of their options") {
  for (const Layout layout : {Layout::mflux, Layout::diffusers, Layout::comfyui}) {
    CHECK(parse_layout(to_string(layout)) == layout);
  }
  for (const OnLoraFailure policy :
       {OnLoraFailure::error,
        OnLoraFailure::skip_layer,
        OnLoraFailure::skip_lora,
        OnLoraFailure::full_precision}) {
    CHECK(parse_on_lora_failure(to_string(policy)) == policy);
  }
  for (const BakeRounding rounding :
       {BakeRounding::automatic, BakeRounding::nearest, BakeRounding::delta}) {
    CHECK(parse_bake_rounding(to_string(rounding)) == rounding);
  }
  CHECK(to_string(BakeRounding::automatic) == "auto");
  CHECK(to_string(OnLoraFailure::full_precision) == "full-precision");
  CHECK(parse_layout("MFLUX") == std::nullopt);
  CHECK(parse_on_lora_failure("") == std::nullopt);
}

TEST_CASE("sha256 is in the receipt when asked for") {
  const TinySave tiny;
  SaveOptions options = tiny.options();
  options.sha256 = true;
  const SaveReport report = save(options);
  for (const FileRecord& record : report.receipt.inputs) CHECK(record.sha256.size() == 64);
  CHECK(report.receipt.loras.at(0).file.sha256 == sha256_file(tiny.path("lora.safetensors")));
  for (const FileRecord& record : report.receipt.outputs) {
    CAPTURE(record.file);
    CHECK(record.sha256 == sha256_file(tiny.folder / "out" / record.file));
  }
}

}  // namespace
}  // namespace mflux
