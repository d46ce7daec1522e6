// SPDX-License-Identifier: MIT
#include "mflux/compare.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/folders.h"
#include "tests/testing.h"
#include "tests/tiny_save.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::error_of;
using testing::TinyFamily;
using testing::TinySave;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST_CASE("a model in another layout and naming is equal") {
  const TinySave tiny;
  SaveOptions options = tiny.options("mflux");
  options.bits = {};
  options.loras = {};
  save(options);
  options.output = tiny.folder / "comfyui";
  options.layout = Layout::comfyui;
  save(options);
  const CompareReport folders = compare(tiny.folder / "model", tiny.folder / "mflux");
  CHECK(folders.equal());
  CHECK(folders.tensors.size() > 150);
  CHECK(folders.total().max_error == 0);
  CHECK(folders.total().sqnr_db == kInfinity);
  CHECK(std::ranges::is_sorted(folders.tensors, {}, &TensorDifference::name));
  const CompareReport file =
      compare(tiny.folder / "comfyui/model.safetensors", tiny.folder / "mflux");
  CHECK(file.only_a.empty());
  CHECK_FALSE(file.only_b.empty());  // the file holds the transformer alone
  CHECK(file.total().max_error == 0);
  CHECK_FALSE(file.equal());
}

TEST_CASE("fewer bits are farther away, tensor by tensor") {
  const TinySave tiny;
  double before = kInfinity;
  for (const int bits : {8, 4, 2}) {
    SaveOptions options = tiny.options(std::to_string(bits));
    options.bits = bits;
    options.loras = {};
    save(options);
    const CompareReport report = compare(tiny.folder / "model", options.output);
    CHECK_FALSE(report.equal());
    CHECK(report.only_a.empty());
    CHECK(report.only_b.empty());
    CHECK(report.other_shape.empty());
    const double sqnr = report.total().sqnr_db;
    CAPTURE(sqnr);
    CHECK(sqnr < before - 8);
    before = sqnr;
  }
}

TEST_CASE("the figures of one changed number are those of the definition") {
  const TinySave tiny;
  fs::copy(tiny.folder / "model", tiny.folder / "changed", fs::copy_options::recursive);
  const std::string file =
      tiny.path("changed/transformer/diffusion_pytorch_model-00001-of-00002.safetensors");
  const safetensors::Header header = safetensors::read_header(File::open(file));
  const safetensors::TensorInfo* info = header.find("x_embedder.weight");
  REQUIRE(info != nullptr);
  testing::flip_byte(file, info->offset + 1);  // the last place of the exponent: twice or half
  const CompareReport report = compare(tiny.folder / "model", tiny.folder / "changed");
  size_t changed = 0;
  for (const TensorDifference& tensor : report.tensors) changed += tensor.max_error != 0 ? 1U : 0U;
  REQUIRE(changed == 1);
  const auto found = std::ranges::find(
      report.tensors, std::string("transformer/x_embedder.weight"), &TensorDifference::name);
  REQUIRE(found != report.tensors.end());
  CHECK(found->elements == 64 * 64);
  CHECK(found->max_error > 0);
  CHECK(found->relative_error > 0);
  CHECK(found->sqnr_db == doctest::Approx(-20 * std::log10(found->relative_error)));
  CHECK(report.total().max_error == found->max_error);
  CHECK(report.total().relative_error < found->relative_error);
  CHECK_FALSE(report.equal());
}

TEST_CASE("NaN and infinity are infinitely far from everything but themselves") {
  const TinySave tiny;
  const std::string name = "transformer/diffusion_pytorch_model-00001-of-00002.safetensors";
  const auto changed = [&](const std::string& folder, std::string_view last_number) {
    fs::copy(tiny.folder / "model", tiny.folder / folder, fs::copy_options::recursive);
    std::string bytes = testing::read_file(tiny.folder / folder / name);
    bytes.replace(bytes.size() - 2, 2, last_number);
    testing::write_file(tiny.folder / folder / name, bytes);
  };
  changed("nan", "\xC0\x7F");
  changed("other-nan", "\xC1\xFF");
  changed("inf", "\x80\x7F");
  changed("-inf", "\x80\xFF");
  const std::vector<std::string> folders = {"model", "nan", "other-nan", "inf", "-inf"};
  for (const std::string& a : folders) {
    for (const std::string& b : folders) {
      CAPTURE(a);
      CAPTURE(b);
      const CompareReport report = compare(tiny.folder / a, tiny.folder / b);
      const bool same = a == b || (contains(a, "nan") && contains(b, "nan"));
      CHECK(report.equal() == same);
      CHECK(report.total().max_error == (same ? 0 : kInfinity));
      CHECK(report.total().relative_error == (same ? 0 : kInfinity));
      CHECK(report.total().sqnr_db == (same ? kInfinity : -kInfinity));
    }
  }
}

TEST_CASE("tensors of one model only and of another shape are listed") {
  const TinySave small;
  const TinySave larger(TinyFamily::flux, {.hidden = 64, .blocks = 2, .shards = 1});
  const CompareReport report = compare(small.folder / "model", larger.folder / "model");
  CHECK_FALSE(report.equal());
  CHECK(report.only_a.empty());
  CHECK(
      std::ranges::count(report.only_b, "transformer/transformer_blocks.1.attn.to_q.weight") == 1);
  const TinySave wide(TinyFamily::flux, {.hidden = 128, .blocks = 1, .shards = 1});
  const CompareReport shapes = compare(small.folder / "model", wide.folder / "model");
  REQUIRE_FALSE(shapes.other_shape.empty());
  CHECK(contains(shapes.other_shape.front(), ": (64"));
}

TEST_CASE("models of different families are nothing to compare") {
  const TinySave flux;
  const TinySave qwen(TinyFamily::qwen);
  CHECK(contains(
      error_of([&] { compare(flux.folder / "model", qwen.folder / "model"); }),
      "nothing to compare"));
}

}  // namespace
}  // namespace mflux
