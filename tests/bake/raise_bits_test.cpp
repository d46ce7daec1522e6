// SPDX-License-Identifier: MIT
// LoRAs on a base that is already packed: the rounding that keeps them, and more bits where even
// that is not asked for.
#include <algorithm>
#include <cstdlib>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mflux/bake/prepare.h"
#include "mflux/compare.h"
#include "mflux/inspect.h"
#include "tests/folders.h"
#include "tests/tiny_save.h"
#include "tests/verifies.h"

namespace mflux {
namespace {

using testing::contains;
using testing::contents_of;
using testing::differences;
using testing::TinyFamily;
using testing::TinySave;
using Json = nlohmann::json;

// A tiny model at 4 bits, and a LoRA at a strength that nearest rounding loses.
struct PackedBase : TinySave {
  PackedBase() : TinySave(TinyFamily::flux, {.hidden = 128, .blocks = 1, .shards = 2}) {
    SaveOptions packed = options("packed");
    packed.bits = 4;
    packed.loras = {};
    save(packed);
  }

  SaveOptions on_packed(std::string_view output = "out") const {
    SaveOptions on_packed = options(output);
    on_packed.model = path("packed");
    on_packed.bits = {};
    on_packed.loras.front().scale = 0.1;
    return on_packed;
  }

  Json receipt(std::string_view output = "out") const {
    return Json::parse(testing::read_file(folder / output / "bake.json"));
  }
};

TEST_CASE("a LoRA baked onto a 4-bit folder survives at the same bits and size") {
  const PackedBase tiny;
  SaveOptions options = tiny.on_packed();
  const SaveReport kept = save(options);
  CHECK(kept.receipt.loras.at(0).kept > 0.95);
  const Json receipt = tiny.receipt();
  REQUIRE_FALSE(receipt["baked"].empty());
  for (const Json& tensor : receipt["baked"]) {
    CAPTURE(tensor["tensor"].get<std::string>());
    CHECK(tensor["kept"]["0"].get<double>() > 0.95);
    CHECK(tensor["stored"] == "4-bit affine, group 64");
    CHECK(tensor["rounding"] == "delta");
    CHECK(tensor["raised_from_bits"].is_null());
  }
  CHECK(receipt["components"] == tiny.receipt("packed")["components"]);
  CHECK(testing::verifies(options));

  options.output = tiny.folder / "nearest";
  options.rounding = BakeRounding::nearest;
  const SaveReport lost = save(options);
  CHECK(lost.receipt.loras.at(0).kept < 0.5);
  CHECK(lost.output_bytes == kept.output_bytes);
  CHECK(tiny.receipt("nearest")["baked"][0]["rounding"] == "nearest");
  CHECK(testing::verifies(options));
}

TEST_CASE("what no LoRA touches of a packed folder stays as it is") {
  const PackedBase tiny;
  SaveOptions options = tiny.on_packed();
  options.loras.front().scale = 0;
  save(options);
  const auto before = contents_of(tiny.folder / "packed");
  auto after = contents_of(tiny.folder / "out");
  after["bake.json"] = before.at("bake.json");
  CHECK(differences(before, after).empty());
}

TEST_CASE("the fp formats keep a LoRA as well") {
  const PackedBase tiny;
  for (const QuantMode mode : {QuantMode::mxfp4, QuantMode::mxfp8, QuantMode::nvfp4}) {
    CAPTURE(quant_mode_name(mode));
    SaveOptions packed = tiny.options("fp");
    packed.overwrite = true;
    packed.bits = {};
    packed.mode = mode;
    packed.loras = {};
    save(packed);
    SaveOptions options = tiny.on_packed();
    options.overwrite = true;
    options.model = tiny.path("fp");
    CHECK(save(options).receipt.loras.at(0).kept > 0.95);
    CHECK(testing::verifies(options));
  }
}

TEST_CASE("--rounding delta keeps what a full-precision base would lose, and is not the default") {
  const PackedBase tiny;
  SaveOptions options = tiny.options();
  options.bits = 2;
  save(options);
  CHECK(tiny.receipt()["baked"][0]["rounding"] == "nearest");
  options.output = tiny.folder / "delta";
  options.rounding = BakeRounding::delta;
  const SaveReport report = save(options);
  CHECK(report.receipt.loras.at(0).kept == doctest::Approx(1).epsilon(0.01));
  CHECK(testing::verifies(options));
}

TEST_CASE("--escalate raises the bits of layers that lose a LoRA until enough survives") {
  const PackedBase tiny;
  SaveOptions options = tiny.on_packed();
  options.rounding = BakeRounding::nearest;
  options.min_kept = 0.9;
  CHECK_THROWS_AS(save(options), Error);
  options.escalate = true;
  const SaveReport report = save(options);
  CHECK(report.receipt.loras.at(0).kept >= 0.9);
  size_t raised = 0;
  const Json receipt = tiny.receipt();
  for (const Json& tensor : receipt["baked"]) {
    CAPTURE(tensor["tensor"].get<std::string>());
    CHECK(tensor["kept"]["0"].get<double>() >= 0.9);
    if (tensor["raised_from_bits"].is_null()) continue;
    CHECK(tensor["raised_from_bits"] == 4);
    CHECK(std::atoi(tensor["stored"].get<std::string>().c_str()) > 4);
    ++raised;
  }
  CHECK(raised > 0);
  CHECK(std::any_of(report.warnings.begin(), report.warnings.end(), [](const std::string& note) {
    return contains(note, "--escalate: layers raised");
  }));
  CHECK(testing::verifies(options));
  // Every reader takes the bits of each layer from its shapes.
  const CompareReport difference = compare(tiny.folder / "packed", options.output);
  CHECK(difference.only_a.empty());
  CHECK(difference.other_shape.empty());
  CHECK(difference.total().relative_error < 0.1);
  const Inspection found = inspect({.path = options.output.string()});
  REQUIRE(found.model);
  CHECK(std::any_of(
      found.model->components.begin(), found.model->components.end(), [](const auto& component) {
        return component.formats.size() > 1;
      }));
}

TEST_CASE("--escalate leaves alone what keeps enough") {
  const PackedBase tiny;
  SaveOptions options = tiny.on_packed();
  save(options);
  const auto plain = contents_of(options.output);
  options.output = tiny.folder / "escalated";
  options.escalate = true;
  save(options);
  auto escalated = contents_of(options.output);
  escalated["bake.json"] = plain.at("bake.json");
  CHECK(differences(plain, escalated).empty());
}

TEST_CASE("--escalate without LoRAs, packed weights or affine formats is wrong usage") {
  const PackedBase tiny;
  const auto message = [&](auto change) -> std::string {
    SaveOptions options = tiny.options();
    options.escalate = true;
    change(options);
    try {
      save(options);
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::usage);
      return error.what();
    }
    return "";
  };
  CHECK(contains(message([](SaveOptions& o) { o.loras = {}; }), "needs --lora"));
  CHECK(contains(message([](SaveOptions& o) { o.bits = {}; }), "needs packed weights"));
  CHECK(contains(
      message([](SaveOptions& o) {
        o.bits = {};
        o.mode = QuantMode::mxfp4;
      }),
      "mxfp4 has no more bits"));
  CHECK_FALSE(std::filesystem::exists(tiny.folder / "out"));
}

}  // namespace
}  // namespace mflux
