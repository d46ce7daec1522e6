// SPDX-License-Identifier: MIT
#include "mflux/base/file_stamp.h"

#include <chrono>

#include <doctest/doctest.h>

#include "tests/testing.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::error_of;
using testing::write_file;

// A file that was written a while ago.
fs::path old_file(const testing::TempDir& folder, std::string_view name, std::string_view text) {
  const fs::path path = folder / name;
  write_file(path, text);
  fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(1));
  return path;
}

TEST_CASE("a file that nobody touches keeps its stamp, by path, by descriptor and through a link") {
  const testing::TempDir folder;
  const fs::path path = old_file(folder, "x", "some");
  const FileStamp stamp = stamp_of(path);
  CHECK(stamp.bytes == 4);
  CHECK(stamp_of(File::open(path)) == stamp);
  fs::create_symlink(path, folder / "link");
  CHECK(stamp_of(folder / "link") == stamp);
  check_unchanged(folder / "link", stamp);
  fs::rename(path, folder / "elsewhere");  // the same file under another name
  check_unchanged(folder / "elsewhere", stamp);
}

TEST_CASE("a file that was replaced, written to, cut or removed is named") {
  const testing::TempDir folder;
  const fs::path path = old_file(folder, "x", "some");
  const FileStamp stamp = stamp_of(path);
  const auto problem = [&] { return error_of([&] { check_unchanged(path, stamp); }); };
  SUBCASE("replaced by a file that looks the same") {
    fs::rename(old_file(folder, "y", "some"), path);
    CHECK(contains(problem(), path.string() + ": was replaced by another file"));
  }
  SUBCASE("written to, as many bytes") {
    write_file(path, "same");
    CHECK(contains(problem(), path.string() + ": was written to while it was being read"));
  }
  SUBCASE("cut, the time put back") {
    const auto time = fs::last_write_time(path);
    fs::resize_file(path, 3);
    fs::last_write_time(path, time);
    CHECK(contains(problem(), "(3 bytes, before 4)"));
  }
  SUBCASE("removed") {
    fs::remove(path);
    CHECK(contains(problem(), path.string() + ": cannot examine"));
  }
}

}  // namespace
}  // namespace mflux
