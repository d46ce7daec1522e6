// SPDX-License-Identifier: MIT
#include "mflux/base/file.h"

#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include "tests/testing.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;

using testing::contains;
using testing::error_of;
using testing::read_file;
using testing::write_file;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_CASE("a file has the size it is created with and keeps what is written into it") {
  const testing::TempDir folder;
  const File file = File::create(folder / "x", 6);
  CHECK(file.size() == 6);
  file.write(2, std::as_bytes(std::span("ab", 2)));
  file.sync();
  CHECK(read_file(folder / "x") == std::string("\0\0ab\0\0", 6));
  std::array<std::byte, 2> out = {};
  file.read(2, out);
  CHECK(text_of(out) == "ab");
  file.read(6, {});
}

TEST_CASE("a moved file stays open") {
  const testing::TempDir folder;
  write_file(folder / "x", "x");
  write_file(folder / "y", "yy");
  File file = File::open(folder / "x");
  file = File::open(folder / "y");
  const File moved = std::move(file);
  CHECK(moved.size() == 2);
  CHECK(moved.path() == folder / "y");
  CHECK(moved.descriptor() >= 0);
}

TEST_CASE("file errors name the path and the cause") {
  const testing::TempDir folder;
  const std::string missing = (folder / "missing").string();
  write_file(folder / "x", "abc");
  CHECK(error_of([&] {
          File::open(missing);
        }) == missing + ": cannot open: No such file or directory");
  CHECK(error_of([&] { File::open(folder.path()); }) == folder.path().string() + ": not a file");
  CHECK(contains(error_of([&] { File::create(missing + "/x", 1); }), "/x: cannot create: No such"));
  CHECK(contains(error_of([&] { File::create(missing, ~uint64_t{0}); }), "cannot create 18446744"));
  const File file = File::open(folder / "x");
  std::array<std::byte, 4> out = {};
  CHECK(contains(error_of([&] { file.read(1, out); }), "x: ends at byte 3, but byte 5"));
  CHECK(contains(error_of([&] { file.read(~uint64_t{0}, out); }), "cannot read 4 bytes at"));
  CHECK(contains(error_of([&] { file.write(0, out); }), "cannot write 4 bytes at 0: Bad file"));
  CHECK(contains(error_of([&] { file.write(~uint64_t{0}, out); }), "cannot write 4 bytes at 184"));
  CHECK(contains(error_of([&] { sync_folder(missing); }), "cannot open the folder"));
  CHECK(contains(error_of([&] { write_text_atomically(missing + "/x", ""); }), "cannot create"));
}

TEST_CASE("a file is not created where something is, be it a link to nowhere") {
  const testing::TempDir folder;
  write_file(folder / "x", "mine");
  fs::create_symlink("nowhere", folder / "link");
  for (const char* name : {"x", "link"}) {
    CHECK(
        contains(error_of([&] { File::create(folder / name, 1); }), "cannot create: File exists"));
  }
  CHECK(read_file(folder / "x") == "mine");
  CHECK_FALSE(fs::exists(folder / "nowhere"));
}

TEST_CASE("a new file has a name that nobody foresees until it is published") {
  const testing::TempDir folder;
  write_file(folder / "x", "old");
  fs::create_symlink("x", folder / "link");
  std::set<std::string> names;
  for (const char* name : {"x", "y", "link"}) {
    NewFile file(folder / name, 3);
    const std::string hidden = file.temporary().filename().string();
    CHECK(is_temporary(hidden));
    names.insert(hidden);
    file.file().write(0, std::as_bytes(std::span("new", 3)));
    CHECK(read_file(folder / "x") != "ne");
    if (std::string_view(name) == "y") continue;  // never published
    file.publish();
    CHECK(read_file(folder / name) == "new");
    CHECK_FALSE(fs::is_symlink(folder / name));
  }
  CHECK(names.size() == 3);
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 2);  // x and what was the link
  for (const char* name : {".mflux-", ".mflux-save.json", ".mflux-0123456789abcdeF", "x", ""}) {
    CHECK_FALSE(is_temporary(name));
  }
}

TEST_CASE("the mode of a new file follows the umask") {
  const testing::TempDir folder;
  const mode_t before = ::umask(027);
  write_text_atomically(folder / "x", "one");
  ::umask(before);
  CHECK(fs::status(folder / "x").permissions() == fs::perms(0640));
}

TEST_CASE("a pipe is refused without waiting for its writer") {
  const testing::TempDir folder;
  const std::string path = (folder / "pipe").string();
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  CHECK(error_of([&] { File::open(path); }) == path + ": not a file");
}

TEST_CASE("a mapped file shows the bytes of the file") {
  const testing::TempDir folder;
  write_file(folder / "x", "abc");
  write_file(folder / "empty", "");
  MappedFile file(folder / "x");
  CHECK(text_of(file.bytes()) == "abc");
  MappedFile other(folder / "empty");
  CHECK(other.bytes().empty());
  other = std::move(file);
  CHECK(text_of(other.bytes()) == "abc");
  const MappedFile third = std::move(other);
  CHECK(text_of(third.bytes()) == "abc");
  CHECK(contains(error_of([&] { MappedFile(folder / "missing"); }), "missing: cannot open"));
}

TEST_CASE("text is written whole and replaces what was there") {
  const testing::TempDir folder;
  write_text_atomically(folder / "x", "one");
  write_text_atomically(folder / "x", "two, longer");
  CHECK(read_text(folder / "x") == "two, longer");
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
  CHECK(read_text(folder / "x").size() == 11);
}

TEST_CASE("a failed replacement leaves nothing behind") {
  const testing::TempDir folder;
  std::filesystem::create_directories(folder / "x" / "y");  // a folder cannot be replaced by a file
  CHECK(contains(error_of([&] { write_text_atomically(folder / "x", "t"); }), "x: cannot replace"));
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("text of more than 100 MB is refused") {
  const testing::TempDir folder;
  write_file(folder / "x", "");
  std::filesystem::resize_file(folder / "x", 100'000'001);  // sparse
  CHECK(
      contains(error_of([&] { read_text(folder / "x"); }), "100000001 bytes of text, expected at"));
}

}  // namespace
}  // namespace mflux
