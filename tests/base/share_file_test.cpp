// SPDX-License-Identifier: MIT
#include "mflux/base/share_file.h"

#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include "mflux/base/error.h"
#include "tests/testing.h"

namespace mflux {
namespace {

using testing::contains;
using testing::write_file;

TEST_CASE("a shared file has the same bytes, replaces what was there, and may be done again") {
  const testing::TempDir folder;
  write_file(folder / "source", "bytes");
  write_file(folder / "target", "others");
  for (int i = 0; i < 2; ++i) {
    share_file(folder / "source", folder / "target");
    CHECK(testing::read_file(folder / "target") == "bytes");
    CHECK(testing::read_file(folder / "source") == "bytes");
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 2);
  }
  CHECK_THROWS_AS(share_file(folder / "missing", folder / "target"), Error);
  CHECK(testing::read_file(folder / "target") == "bytes");
}

}  // namespace
}  // namespace mflux
