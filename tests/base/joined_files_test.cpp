// SPDX-License-Identifier: MIT
#include "mflux/base/joined_files.h"

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tests/testing.h"

namespace mflux {
namespace {

using testing::contains;
using testing::error_of;
using testing::write_file;

std::string bytes_of(const JoinedFiles& files, uint64_t offset, uint64_t count) {
  std::string bytes(count, '\0');
  files.read(offset, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

TEST_CASE("joined files give the bytes of each, whatever their sizes") {
  const testing::TempDir folder;
  const std::vector<std::string> texts = {
      "", "abc", "", "", std::string(10'000, 'x') + "y", "last", ""};
  std::vector<std::filesystem::path> paths;
  for (size_t i = 0; i < texts.size(); ++i) {
    paths.push_back(folder / std::to_string(i));
    write_file(paths.back(), texts[i]);
  }
  JoinedFiles moved(paths);
  const JoinedFiles files = std::move(moved);
  REQUIRE(files.places().size() == texts.size());
  uint64_t end = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const JoinedFiles::Place& place = files.places()[i];
    CHECK(place.begin == end);
    REQUIRE(place.bytes == texts[i].size());
    CHECK(bytes_of(files, place.begin, place.bytes) == texts[i]);
    end += place.bytes;
  }
  CHECK(bytes_of(files, 1, 2) == "bc");
  CHECK(bytes_of(files, 3 + 9'999, 2) == "xy");
}

TEST_CASE("a joined file that is not there, or became shorter, is an error with its name") {
  const testing::TempDir folder;
  const std::vector<std::filesystem::path> paths = {folder / "a", folder / "b"};
  write_file(paths[0], "0123456789");
  CHECK(contains(error_of([&] { JoinedFiles files(paths); }), "b: cannot open"));
  write_file(paths[1], "0123456789");
  const JoinedFiles files(paths);
  std::filesystem::resize_file(paths[1], 4);
  CHECK(bytes_of(files, 0, 10) == "0123456789");
  CHECK(bytes_of(files, 12, 2) == "23");
  const std::string message = error_of([&] { bytes_of(files, 12, 3); });
  CHECK(contains(message, "b: ends at byte 4, but byte 5 is needed"));
}

}  // namespace
}  // namespace mflux
