// SPDX-License-Identifier: MIT
// One bit of a saved folder changed, in every file of it: verify must find it.
#include <algorithm>
#include <exception>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "mflux/verify.h"
#include "tests/faults/faults.h"
#include "tests/folders.h"
#include "tests/tiny_save.h"

namespace mflux::testing {
namespace {

namespace fs = std::filesystem;

bool passes(const fs::path& folder) {
  try {
    return verify({.folder = folder}).passed();
  } catch (const Error&) {
    return false;
  }
}

// Bytes of one file to try: the receipt's all if there is time.
uint64_t tries_for(const fs::path& file) {
  const uint64_t bytes = fs::file_size(file);
  if (try_all()) return file.filename() == "bake.json" ? bytes : std::min<uint64_t>(bytes, 2000);
  return std::min<uint64_t>(bytes, 20);
}

TEST_SUITE("faults") {
  TEST_CASE("verify finds one changed bit in any file of a saved folder") {
    const TinySave tiny;
    const fs::path out = tiny.folder / "out";
    save(tiny.options());
    REQUIRE(passes(out));
    for (const auto& [name, bytes] : contents_of(out)) {
      if (name.ends_with("/") || bytes.empty()) continue;
      Tries tries("one bit of " + name);
      const uint64_t count = tries_for(out / name);
      for (uint64_t i = 0; i < count; ++i) {
        const uint64_t offset = count == 1 ? 0 : i * (bytes.size() - 1) / (count - 1);
        const int bit = static_cast<int>(i % 8);
        std::string changed = bytes;
        changed[offset] = static_cast<char>(changed[offset] ^ (1 << bit));
        write_file(out / name, changed);
        tries.begin(fmt::format("{}: bit {} of byte {}", name, bit, offset));
        tries.check(!passes(out), "verify does not see it");
      }
      write_file(out / name, bytes);
      tries.conclude();
    }
    CHECK(passes(out));
  }
}

}  // namespace
}  // namespace mflux::testing
