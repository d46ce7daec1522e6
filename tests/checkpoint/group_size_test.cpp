// SPDX-License-Identifier: MIT
// Folders of Python's mflux say nothing of groups; the widths of the model do.
#include "mflux/checkpoint/group_size.h"

#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/checkpoint/checkpoint.h"
#include "mflux/save.h"
#include "tests/testing.h"
#include "tests/tiny_save.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::error_of;
using testing::TinyFamily;
using testing::TinySave;

// Blanks the name of every key of our own in the headers of a folder, length and all.
void hide_own_metadata(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    std::string bytes = testing::read_file(entry.path());
    for (size_t at = 0; (at = bytes.find("\"mflux_cpp_", at)) != std::string::npos; ++at) {
      bytes.replace(at, 11, "\"x_x_x_x_x_");
    }
    testing::write_file(entry.path(), bytes);
  }
}

TEST_CASE("the group size is that of MLX which fits, 64 first") {
  const auto check = [](uint64_t packed, uint64_t groups, int bits, int group_size) {
    const auto format = likely_format(packed, groups);
    REQUIRE(format);
    CHECK(format->bits == bits);
    CHECK(format->group_size == group_size);
  };
  check(16, 1, 8, 64);
  check(8, 1, 4, 64);
  check(4, 1, 2, 64);
  check(2, 1, 2, 32);
  check(3, 1, 3, 32);
  check(5, 1, 5, 32);
  check(20, 1, 5, 128);
  check(32, 1, 8, 128);
  CHECK_FALSE(likely_format(1, 1));
  CHECK_FALSE(likely_format(7, 1));
  CHECK_FALSE(likely_format(8, 0));
  CHECK_FALSE(likely_format(uint64_t{1} << 63U, uint64_t{1} << 63U));
}

TEST_CASE("a packed folder without a word of its groups is read by the model's widths") {
  for (const TinyFamily family : {TinyFamily::flux, TinyFamily::qwen}) {
    for (const int group : {32, 64, 128}) {
      for (const int bits : {2, 3, 4, 5, 6, 8}) {
        CAPTURE(group);
        CAPTURE(bits);
        const TinySave tiny(family, {.hidden = 128, .blocks = 1, .shards = 1});
        SaveOptions options = tiny.options("packed");
        options.loras = {};
        options.bits = bits;
        options.group_size = group;
        save(options);
        const Checkpoint told = open_checkpoint(options.output);
        hide_own_metadata(options.output);
        fs::remove_all(options.output / "transformer/config.json");
        const Checkpoint found = open_checkpoint(options.output);
        REQUIRE(found.components.size() == told.components.size());
        for (size_t i = 0; i < told.components.size(); ++i) {
          const auto& expected = told.components[i].tensors;
          const auto& tensors = found.components[i].tensors;
          REQUIRE(tensors.size() == expected.size());
          for (size_t j = 0; j < expected.size(); ++j) {
            CAPTURE(expected[j].name);
            CHECK(tensors[j].spec == expected[j].spec);
            CHECK((tensors[j].format == expected[j].format));
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace mflux
