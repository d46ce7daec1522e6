// SPDX-License-Identifier: MIT
#include "mflux/bake/receipt_seal.h"

#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mflux/bake/receipt.h"
#include "mflux/base/hash.h"
#include "tests/folders.h"
#include "tests/tiny_save.h"

namespace mflux {
namespace {

using testing::contains;
using testing::error_of;

// What verify finds in a receipt of this text, from the text alone.
std::string problem_of(const std::string& text) {
  std::string problem;
  const std::string error = error_of([&] {
    const Receipt receipt = parse_receipt(text, "bake.json");
    problem = receipt.is_sealed ? seal_problem(text) : "not sealed";
  });
  return error + problem;
}

TEST_CASE("a receipt's hash is that of the bytes before it, and the last thing in the file") {
  const std::string text = seal_receipt("{\n \"a\": 1\n}");
  CHECK(
      text ==
      fmt::format(
          "{{\n \"a\": 1,\n \"receipt_xxh3_128\": \"{}\"\n}}\n", hash_text("{\n \"a\": 1")));
  CHECK(nlohmann::json::parse(text).size() == 2);
  CHECK(seal_problem(text) == "");
  for (const std::string other : {"", "{}", "{\n \"receipt_xxh3_128\": \"\"\n}\n"}) {
    CHECK(contains(seal_problem(other), "changed after the save"));
  }
  CHECK_FALSE(seal_problem(text + "\n").empty());
  CHECK_FALSE(seal_problem(text.substr(0, text.size() - 1)).empty());
}

TEST_CASE("every byte of a receipt that is changed is found, whatever it becomes") {
  const testing::TinySave tiny;
  save(tiny.options());
  const std::string text = testing::read_file(tiny.folder / "out/bake.json");
  REQUIRE(problem_of(text) == "");
  constexpr size_t kEnd = 200;  // where the hash is, and what could hide that there is one
  size_t found = 0;
  size_t tried = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    for (const char change : {'\x01', '\x10', '\x20', '\x7f'}) {
      std::string changed = text;
      changed[i] = static_cast<char>(changed[i] ^ change);
      const bool at_end = i + kEnd > text.size();
      ++tried;
      if (!(at_end ? problem_of(changed) : seal_problem(changed)).empty()) ++found;
    }
  }
  CHECK(tried == 4 * text.size());
  CHECK(found == tried);
}

TEST_CASE("a receipt of an older version has no hash of itself and is read") {
  const testing::TinySave tiny;
  save(tiny.options());
  nlohmann::ordered_json json =
      nlohmann::ordered_json::parse(testing::read_file(tiny.folder / "out/bake.json"));
  json.erase(std::string(kReceiptSeal));
  CHECK_FALSE(parse_receipt(json.dump(1), "bake.json").is_sealed);
  json["receipt_xxh3_129"] = "";
  CHECK(
      contains(error_of([&] { parse_receipt(json.dump(1), "bake.json"); }), "'receipt_xxh3_129'"));
}

}  // namespace
}  // namespace mflux
