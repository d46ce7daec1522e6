// SPDX-License-Identifier: MIT
#include "mflux/base/paths.h"

#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/testing.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using testing::error_of;
using testing::TempDir;
using testing::write_file;
using Names = std::vector<std::string>;

TEST_CASE("a name stays inside its folder, or it does not") {
  for (const char* name : {"a", "a/b.c", "..a/b..", "...", "a b/\xc3\xa4", ".hidden/x"}) {
    CAPTURE(name);
    CHECK(stays_inside(name));
  }
  for (const char* name :
       {"", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/.", "../a", "a/../b", "a/..", "a\\b"}) {
    CAPTURE(name);
    CHECK_FALSE(stays_inside(name));
  }
  CHECK_FALSE(stays_inside({"a\0b", 3}));
}

TEST_CASE("a path lies in a folder by whole names") {
  CHECK(lies_in("/a/b", "/a/b"));
  CHECK(lies_in("/a/b/c", "/a/b"));
  CHECK_FALSE(lies_in("/a/bc", "/a/b"));
  CHECK_FALSE(lies_in("/a", "/a/b"));
}

TEST_CASE("files below a folder are named by where they stand, through links of every kind") {
  const TempDir folder;
  fs::create_directories(folder / "store/deep");
  write_file(folder / "store/x", "x");
  write_file(folder / "store/deep/y", "y");
  fs::create_directories(folder / "model");
  write_file(folder / "model/own", "o");
  write_file(folder / "model/._own", "left by macOS");
  write_file(folder / "model/.DS_Store", "left by macOS");
  fs::create_symlink("../store/x", folder / "model/file");
  fs::create_symlink("../store", folder / "model/relative");
  fs::create_symlink(folder / "store/deep", folder / "model/absolute");
  const Names expected = {"absolute/y", "file", "own", "relative/deep/y", "relative/x"};
  CHECK(files_below(folder / "model") == expected);
  fs::create_symlink("model", folder / "link");
  CHECK(files_below(folder / "link") == expected);
}

TEST_CASE("links that lead nowhere or in a circle are refused, and so is what is no file") {
  const auto refusal = [](auto make) {
    const TempDir folder;
    fs::create_directories(folder / "model/sub");
    make(folder);
    return error_of([&] { files_below(folder / "model"); });
  };
  const auto link = [&](const char* to, const char* name) {
    return refusal([&](const TempDir& folder) { fs::create_symlink(to, folder / name); });
  };
  CHECK(testing::contains(link("gone", "model/a"), "model/a: a link to gone, which is not there"));
  CHECK(testing::contains(link("b", "model/b"), "model/b: a link to b, which is not there"));
  CHECK(testing::contains(
      link("..", "model/sub/c"), "model/sub/c: a link to a folder that contains it"));
  CHECK(testing::contains(link(".", "model/d"), "model/d: a link to a folder that contains it"));
  const std::string pipe =
      refusal([](const TempDir& folder) { ::mkfifo((folder / "model/p").c_str(), 0600); });
  CHECK(testing::contains(pipe, "model/p: neither a file nor a folder"));
  const std::string many = refusal([](const TempDir& folder) {
    for (int i = 0; i <= 1000; ++i) write_file(folder / fmt::format("model/sub/{}", i), "");
  });
  CHECK(testing::contains(many, "model/sub: more than 1000 files"));
}

TEST_CASE("what the system does not tell of is neither there nor not there") {
  const TempDir folder;
  CHECK_FALSE(is_there(folder / "nothing"));
  CHECK_FALSE(is_there(folder / "nothing/below"));
  const std::string name(300, 'n');  // longer than names may be
  CHECK(
      error_of([&] { is_there(folder / name); }).ends_with(": cannot examine: File name too long"));
}

}  // namespace
}  // namespace mflux
