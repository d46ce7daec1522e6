// SPDX-License-Identifier: MIT
#include "mflux/base/mapped_files.h"

#include <string>

#include <doctest/doctest.h>

#include "tests/testing.h"

namespace mflux {
namespace {

using testing::error_of;
using testing::write_file;

TEST_CASE("mapped files show the bytes of each, whatever their sizes") {
  const testing::TempDir folder;
  const std::vector<std::string> texts = {"abc", "", std::string(10'000, 'x') + "y", "last"};
  std::vector<std::filesystem::path> paths;
  for (size_t i = 0; i < texts.size(); ++i) {
    paths.push_back(folder / std::to_string(i));
    write_file(paths.back(), texts[i]);
  }
  MappedFiles moved(paths);
  const MappedFiles files = std::move(moved);
  REQUIRE(files.places().size() == texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto [begin, end] = files.places()[i];
    REQUIRE(end - begin == texts[i].size());
    const auto bytes = files.bytes().subspan(begin, end - begin);
    CHECK(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()) == texts[i]);
  }
}

TEST_CASE("empty files and files that are not there cannot be mapped to anything") {
  const testing::TempDir folder;
  const std::vector<std::filesystem::path> empty = {folder / "empty"};
  write_file(empty.front(), "");
  CHECK(MappedFiles(empty).bytes().empty());
  const std::vector<std::filesystem::path> missing = {empty.front(), folder / "missing"};
  CHECK(testing::contains(error_of([&] { MappedFiles files(missing); }), "missing: cannot open"));
}

}  // namespace
}  // namespace mflux
