// SPDX-License-Identifier: MIT
#include "mflux/report.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mflux/checkpoint/checkpoint.h"
#include "tests/folders.h"
#include "tests/tiny_save.h"

namespace mflux {
namespace {

using testing::contains;
using testing::error_of;
using testing::read_file;
using testing::TinyFamily;
using testing::TinyLora;
using testing::TinySave;
using testing::write_file;
using Json = nlohmann::ordered_json;

ReportFacts report_on(const TinySave& tiny, const SaveOptions& options) {
  save(options);
  return gather_report({.folder = tiny.folder / "out"});
}

// A saved folder whose receipt can be changed.
struct Saved {
  TinySave tiny = TinySave();
  std::filesystem::path file = tiny.folder / "out/bake.json";
  Json receipt = {};

  Saved() {
    save(tiny.options());
    receipt = Json::parse(read_file(file));
  }

  ReportFacts facts() const {
    write_file(file, receipt.dump());
    return gather_report({.folder = tiny.folder / "out"});
  }
  std::string refusal() const {
    return error_of([&] { facts(); });
  }
};

TEST_CASE("a report tells what was baked, what survived and how everything is stored") {
  const TinySave tiny;
  const ReportFacts facts = report_on(tiny, tiny.options());
  CHECK(facts.name == "out");
  CHECK(facts.title == "FLUX.1");
  CHECK(facts.baked.size() == 20);
  CHECK(facts.mean_kept().value() == doctest::Approx(1).epsilon(0.01));
  CHECK(facts.mean_relative_error().value() > 0);
  CHECK(facts.warnings.empty());
  CHECK(facts.verdict.starts_with("1 LoRA merged into 20 layers of a FLUX.1; "));
  CHECK(facts.verdict.ends_with(" % of its change survives 8-bit quantization."));
  const Checkpoint model = open_checkpoint(tiny.folder / "out");
  size_t tensors = 0;
  uint64_t bytes = 0;
  for (const Component& component : model.components) {
    tensors += component.tensors.size();
    for (const auto& tensor : component.folder.tensors) bytes += tensor.info.bytes;
  }
  CHECK(facts.tensors.size() == tensors);
  uint64_t stored = 0;
  size_t baked = 0;
  for (const HeldTensor& tensor : facts.tensors) {
    stored += tensor.bytes;
    baked += tensor.baked ? 1 : 0;
  }
  CHECK(stored == bytes);
  CHECK(baked == 20);
}

TEST_CASE("tensors are in the order of a model: its components, kinds of blocks, blocks") {
  const TinySave tiny(TinyFamily::flux, {.hidden = 64, .blocks = 11, .shards = 2});
  const ReportFacts facts = report_on(tiny, tiny.options());
  REQUIRE(facts.sizes.size() == 4);
  CHECK(facts.sizes.front().name == "transformer");
  const TensorPlace& first = facts.baked.front().place;
  CHECK(first.kind == "transformer_blocks");
  CHECK(first.block == 0);
  CHECK(facts.baked.back().place.kind == "single_transformer_blocks");
  CHECK(facts.baked.back().place.block == 10);
  for (size_t i = 1; i < facts.baked.size(); ++i) {
    const TensorPlace& a = facts.baked[i - 1].place;
    const TensorPlace& b = facts.baked[i].place;
    if (a.kind == b.kind) CHECK(a.block <= b.block);
  }
  const auto outside =
      std::ranges::find(facts.tensors, "transformer/x_embedder.weight", &HeldTensor::name);
  REQUIRE(outside != facts.tensors.end());
  CHECK(outside->place.kind == "");
  CHECK(outside->place.layer == "x_embedder.weight");
}

TEST_CASE("sizes are those of the weight files before and after") {
  const TinySave tiny;
  const ReportFacts facts = report_on(tiny, tiny.options());
  for (const ComponentSize& size : facts.sizes) {
    CAPTURE(size.name);
    const auto on_disk = [&](const std::string& folder) {
      uint64_t bytes = 0;
      for (const auto& file :
           std::filesystem::directory_iterator(tiny.folder / (folder + size.name)))
        if (file.path().extension() == ".safetensors") bytes += file.file_size();
      return bytes;
    };
    CHECK(size.before == on_disk("model/"));
    CHECK(size.after == on_disk("out/"));
  }
}

TEST_CASE("the same folder gives the same page, wherever it lies, without its path") {
  const TinySave tiny;
  const std::string page = format_report(report_on(tiny, tiny.options()));
  CHECK(page == format_report(gather_report({.folder = tiny.folder / "out/."})));
  std::filesystem::create_directory(tiny.folder / "other");
  std::filesystem::rename(tiny.folder / "out", tiny.folder / "other/out");
  CHECK(page == format_report(gather_report({.folder = tiny.folder / "other/out"})));
  CHECK_FALSE(contains(page, tiny.folder.path().string()));
}

TEST_CASE("the page refers to nothing outside and has no script") {
  const TinySave tiny;
  const std::string page = format_report(report_on(tiny, tiny.options()));
  for (const char* part : {"<script", "http:", "https:", "url(", "@import", "onload", "src=\"/"}) {
    CAPTURE(part);
    CHECK_FALSE(contains(page, part));
  }
  CHECK(contains(page, "<meta charset=\"utf-8\">"));
  CHECK(contains(page, "prefers-color-scheme: dark"));
}

TEST_CASE("the page names every baked tensor and every input") {
  const TinySave tiny;
  const ReportFacts facts = report_on(tiny, tiny.options());
  const std::string page = format_report(facts);
  for (const BakedTensor& tensor : facts.baked) CHECK(contains(page, tensor.name));
  for (const FileRecord& file : facts.receipt.inputs) CHECK(contains(page, file.xxh3_128));
  CHECK(contains(page, facts.verdict));
}

TEST_CASE("what was skipped is a warning and is listed with its reason") {
  const TinySave tiny;
  SaveOptions options = tiny.options();
  write_tiny_lora(tiny.folder / "misfit", TinyFamily::flux, TinyLora::misfit, TinySave::kSize);
  options.loras.push_back({.name = tiny.path("misfit")});
  SUBCASE("a layer") {
    options.on_lora_failure = OnLoraFailure::skip_layer;
    const ReportFacts facts = report_on(tiny, options);
    REQUIRE(facts.warnings.size() == 1);
    CHECK(contains(facts.warnings[0], "in misfit left out"));
    CHECK(facts.verdict.starts_with("2 LoRAs merged into "));
    REQUIRE_FALSE(facts.loras[1].skipped.empty());
    const std::string page = format_report(facts);
    CHECK(contains(page, "class=\"verdict warn\""));
    CHECK(contains(page, "model has no such layer"));
  }
  SUBCASE("a LoRA") {
    options.on_lora_failure = OnLoraFailure::skip_lora;
    const ReportFacts facts = report_on(tiny, options);
    REQUIRE(facts.warnings.size() == 2);
    CHECK(facts.warnings[0] == "misfit was not merged at all.");
    CHECK(facts.verdict.starts_with("1 of 2 LoRAs merged into 20 layers of a FLUX.1; "));
    CHECK(facts.loras[1].skipped.size() == facts.loras[1].keys);
  }
  SUBCASE("the quantization") {
    options.on_lora_failure = OnLoraFailure::full_precision;
    const ReportFacts facts = report_on(tiny, options);
    CHECK(facts.warnings.back() == "Because of that, as asked, the model was not quantized.");
    CHECK(facts.verdict.ends_with(" survives rounding to BF16."));
  }
}

TEST_CASE("without a LoRA the report says so") {
  const TinySave tiny;
  SaveOptions options = tiny.options();
  options.loras.clear();
  const ReportFacts facts = report_on(tiny, options);
  CHECK(facts.verdict == "A FLUX.1 stored at 8 bits; no LoRA was baked in.");
  CHECK_FALSE(facts.mean_kept());
  CHECK_FALSE(facts.mean_relative_error());
  CHECK_FALSE(contains(format_report(facts), "Layer by layer"));
}

TEST_CASE("every family and layout can be reported") {
  for (const TinyFamily family : {TinyFamily::flux, TinyFamily::qwen}) {
    for (const Layout layout : {Layout::mflux, Layout::diffusers, Layout::comfyui}) {
      CAPTURE(to_string(layout));
      const TinySave tiny(family);
      SaveOptions options = tiny.options();
      options.layout = layout;
      if (layout != Layout::mflux) options.bits.reset();
      const ReportFacts facts = report_on(tiny, options);
      CHECK(facts.title == (family == TinyFamily::flux ? "FLUX.1" : "Qwen-Image"));
      CHECK(facts.warnings.empty());
      const auto baked = std::ranges::count_if(facts.tensors, &HeldTensor::baked);
      CHECK(static_cast<size_t>(baked) == facts.baked.size());
      for (const ComponentSize& size : facts.sizes) CHECK((size.before > 0 && size.after > 0));
    }
  }
}

TEST_CASE("a LoRA of which little survives is a warning") {
  Saved saved;
  saved.receipt["loras"][0]["kept"] = 0.899;
  const ReportFacts facts = saved.facts();
  REQUIRE(facts.warnings.size() == 1);
  CHECK(facts.warnings[0].starts_with("Only 89.9 % of lora.safetensors survives 8-bit quant"));
  CHECK(contains(facts.verdict, "89.9 % of its change survives"));
  saved.receipt["loras"][0]["kept"] = 0.9;
  CHECK(saved.facts().warnings.empty());
}

TEST_CASE("a verdict never promises more than all") {
  Saved saved;
  saved.receipt["loras"][0]["kept"] = 1.0123;
  CHECK(contains(saved.facts().verdict, "; 100.0 % of its change survives"));
}

TEST_CASE("a LoRA lost in the noise is told as that, with no share") {
  Saved saved;
  saved.receipt["loras"][0]["kept"] = 1.7698;
  const ReportFacts facts = saved.facts();
  REQUIRE(facts.warnings.size() == 1);
  CHECK(contains(facts.warnings[0], "lora.safetensors is lost in the noise"));
  CHECK(contains(facts.verdict, "nothing that could be told from noise survives"));
  CHECK_FALSE(contains(facts.verdict, "%"));
}

TEST_CASE("of several LoRAs the verdict tells what they have in common, or the least") {
  Saved saved;
  saved.receipt["loras"].push_back(saved.receipt["loras"][0]);
  saved.receipt["loras"][0]["kept"] = 0.9921;
  saved.receipt["loras"][1]["kept"] = 0.9929;
  CHECK(contains(saved.facts().verdict, "; 99.2 % of their change survives"));
  saved.receipt["loras"][1]["kept"] = 0.95;
  CHECK(contains(saved.facts().verdict, "; at least 95.0 % of each one's change survives"));
  saved.receipt["baked"][3]["stored"] = "4-bit affine, group 64";
  CHECK(contains(saved.facts().verdict, "survives 4- and 8-bit quantization."));
}

TEST_CASE("the tensors of which least was kept are in the table, the worst first") {
  Saved saved;
  for (size_t i = 0; i < 20; ++i)
    saved.receipt["baked"][i]["kept"]["0"] = 1.5 - 0.1 * static_cast<double>(i);
  const std::string page = format_report(saved.facts());
  const size_t table = page.find("Where least was kept");
  REQUIRE(table != page.npos);
  const auto at = [&](const char* share) { return page.find(share, table); };
  CHECK(at("-40.00 %") < at("-30.00 %"));
  CHECK(at("-30.00 %") < at("50.00 %"));
  CHECK(at("60.00 %") == page.npos);
}

TEST_CASE("what a save could not measure is left out") {
  Saved saved;
  saved.receipt["baked"][0]["relative_error"] = nullptr;
  saved.receipt["baked"][0]["kept"]["0"] = nullptr;
  const ReportFacts facts = saved.facts();
  CHECK(facts.baked.size() == 20);
  CHECK(facts.mean_kept().value() == doctest::Approx(1).epsilon(0.01));
  CHECK(facts.mean_relative_error().value() > 0);
  CHECK_FALSE(contains(format_report(facts), "nan"));
}

TEST_CASE("what a receipt holds cannot become markup") {
  Saved saved;
  const std::string bad = "</style><script>alert('x')</script>";
  saved.receipt["loras"][0]["file"] = bad;
  saved.receipt["loras"][0]["dialect"] = bad;
  saved.receipt["loras"][0]["block_scales"] = bad;
  saved.receipt["loras"][0]["keys"][0] = {{"key", bad}, {"skipped", bad}};
  saved.receipt["program_version"] = bad;
  saved.receipt["baked"][0]["tensor"] = "transformer/" + bad;
  saved.receipt["baked"][0]["stored"] = bad;
  saved.receipt["inputs"][0]["file"] = bad;
  saved.receipt["inputs"][0]["xxh3_128"] = bad;
  saved.receipt["outputs"][0]["sha256"] = bad;
  const std::string page = format_report(saved.facts());
  CHECK_FALSE(contains(page, "<script"));
  CHECK(contains(page, "&lt;script&gt;"));
}

TEST_CASE("a folder without a receipt, or with a broken one, is refused by name") {
  Saved saved;
  const std::string file = saved.file.string();
  const auto refusal = [](const std::filesystem::path& folder) {
    return error_of([&] { gather_report({.folder = folder}); });
  };
  CHECK(contains(refusal(saved.tiny.folder / "none"), "none: no such folder"));
  CHECK(contains(
      refusal(saved.tiny.folder / "model"),
      "model/bake.json: no such file; a report is about a folder saved by mflux"));
  const Json good = saved.receipt;
  for (const char* key : {"baked", "loras", "options"}) {
    CAPTURE(key);
    saved.receipt = good;
    saved.receipt.erase(key);
    CHECK(contains(saved.refusal(), file + ": not a receipt"));
  }
  const auto broken = [&](const char* pointer, const Json& value) {
    saved.receipt = good;
    saved.receipt[Json::json_pointer(pointer)] = value;
    return saved.refusal();
  };
  CHECK(contains(broken("/loras/0/keys", 7), file + ": not a receipt"));
  CHECK(contains(broken("/loras/0/dialect", 7), file + ": not a receipt"));
  CHECK(contains(broken("/baked/0/relative_error", "small"), file + ": not a receipt"));
  CHECK(contains(broken("/baked/0/kept/0", "all"), file + ": not a receipt"));
  CHECK(contains(broken("/baked/0/kept/1", 1), "kept names LoRA '1', but there are 1"));
  CHECK(contains(broken("/baked/0/kept/0x", 1), "kept names LoRA '0x', but there are 1"));
  CHECK(contains(broken("/baked/0/tensor", "to_q"), "tensor 'to_q' has no component in its name"));
}

TEST_CASE("a file of tensors that is missing or damaged is refused by name") {
  const Saved saved;
  const std::filesystem::path shard = saved.tiny.folder / "out/transformer/0.safetensors";
  SUBCASE("damaged") {
    testing::flip_byte(shard, 9);
    CHECK(contains(saved.refusal(), shard.string()));
  }
  SUBCASE("missing") {
    std::filesystem::remove(shard);
    CHECK(contains(saved.refusal(), "0.safetensors"));
  }
}

}  // namespace
}  // namespace mflux
