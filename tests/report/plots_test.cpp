// SPDX-License-Identifier: MIT
#include "mflux/report/plots.h"

#include <doctest/doctest.h>

#include "tests/testing.h"

namespace mflux::report {
namespace {

using testing::contains;

size_t count(std::string_view text, std::string_view part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
  return found;
}

// Two LoRAs on three layers of two blocks and one outside.
ReportFacts facts_of(double kept, double error) {
  ReportFacts facts;
  facts.loras = {{.record = {.file = {.file = "a<b"}}}, {.record = {.file = {.file = "c"}}}};
  for (const auto& [kind, block] : {std::pair("blocks", 0), {"blocks", 1}, {"", 0}}) {
    BakedTensor tensor{
        .name = std::string("transformer/") + kind,
        .place = {.component = "transformer", .kind = kind, .layer = "to_q.weight"},
        .stored = "8-bit affine, group 64",
        .kept = {{0, kept}, {1, 1.0}},
        .relative_error = error};
    if (*kind != '\0') tensor.place.block = static_cast<uint64_t>(block);
    facts.baked.push_back(tensor);
  }
  return facts;
}

TEST_CASE("a plot has a dot for each layer and LoRA, named in its tooltip") {
  const ReportFacts facts = facts_of(0.975, 0.004);
  const std::string kept = kept_plot(facts);
  CHECK(count(kept, "<circle") == 6);
  CHECK(count(kept, "<circle class=\"s1\"") == 3);
  CHECK(
      contains(kept, "transformer/blocks\n97.50 % of a&lt;b kept, 8-bit affine, group 64</title>"));
  CHECK(contains(kept, ">transformer · blocks</text>"));
  CHECK(contains(kept, "class=\"whole\""));
  const std::string errors = error_plot(facts);
  CHECK(count(errors, "<circle") == 3);
  CHECK(contains(errors, "0.400 % off"));
}

TEST_CASE("an axis has round steps that hold every value, and the limit where it is in sight") {
  CHECK(contains(kept_plot(facts_of(0.975, 0)), ">97.5 %</text>"));
  CHECK_FALSE(contains(kept_plot(facts_of(0.975, 0)), "class=\"limit\""));
  CHECK(contains(kept_plot(facts_of(0.61, 0)), ">60 %</text>"));
  CHECK(contains(kept_plot(facts_of(0.61, 0)), "class=\"limit\""));
  CHECK(contains(error_plot(facts_of(1, 0.0009)), ">0.10 %</text>"));
  CHECK(contains(error_plot(facts_of(1, 0)), ">0.000 %</text>"));
}

TEST_CASE("a value that is far off is drawn at the edge and told in full") {
  const std::string plot = kept_plot(facts_of(-1e20, 0));
  CHECK(contains(plot, ">-100 %</text>"));
  CHECK_FALSE(contains(plot, ">-200 %</text>"));
  CHECK(contains(plot, "-1e+22 % of a&lt;b kept"));
}

TEST_CASE("a map has a cell for each tensor: rows are blocks, columns layers, matrices first") {
  ReportFacts facts;
  for (const uint64_t block : {0U, 1U}) {
    for (const char* layer : {"norm.weight", "to_q.bias", "to_q.weight"}) {
      const bool matrix = layer == std::string("to_q.weight");
      facts.tensors.push_back(
          {.name = "transformer/blocks.N." + std::string(layer),
           .place = {.component = "transformer", .kind = "blocks", .block = block, .layer = layer},
           .stored = matrix ? "4-bit affine, group 64" : "BF16",
           .shape = matrix ? Shape{64, 128} : Shape{64},
           .bytes = 1234,
           .baked = matrix && block == 1});
    }
  }
  facts.tensors.push_back({.name = "vae/x", .place = {.component = "vae", .layer = "x"}});
  const std::string map = bits_maps(facts, "transformer");
  CHECK(count(map, "<svg") == 1);
  CHECK(count(map, "<rect class=\"q4\" x=\"26\"") == 2);
  CHECK(count(map, "<rect class=\"bf16\"") == 4);
  CHECK(count(map, "class=\"baked\"") == 1);
  CHECK(contains(map, "4-bit affine, group 64, (64, 128), 1.23 kB; changed by a LoRA</title>"));
  CHECK(map.find(">to_q</text>") < map.find(">norm</text>"));
  CHECK(contains(bits_maps(facts, "vae"), "<figcaption>outside of blocks</figcaption>"));
}

TEST_CASE("a stored form has a class of its own") {
  CHECK(storage_class("8-bit affine, group 64") == "q8");
  CHECK(storage_class("4-bit mxfp4, group 32") == "q4");
  CHECK(storage_class("BF16") == "bf16");
  CHECK(storage_class("F8_E4M3") == "f8e4m3");
}

}  // namespace
}  // namespace mflux::report
