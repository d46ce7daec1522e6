// SPDX-License-Identifier: MIT
#include "mflux/base/folders.h"

#include <filesystem>

#include <doctest/doctest.h>

#include "mflux/base/folder_lock.h"
#include "tests/testing.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::error_of;
using testing::read_file;
using testing::TempDir;
using testing::write_file;

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  write_file(path, text);
}

TEST_CASE("two folders change places") {
  const TempDir folder;
  write(folder / "new/x", "new");
  write(folder / "old/x", "old");
  const fs::path old = swap_folders(folder / "new", folder / "old", folder / "aside");
  CHECK(read_file(folder / "old/x") == "new");
  CHECK(read_file(old / "x") == "old");
  CHECK(contains(
      error_of([&] { swap_folders(folder / "gone", folder / "old", folder / "aside"); }),
      "old: cannot be replaced: No such file"));
  CHECK(read_file(folder / "old/x") == "new");
}

TEST_CASE("a folder moves to a name that nothing has, or not at all") {
  const TempDir folder;
  write(folder / "a/x", "a");
  fs::create_directories(folder / "empty");
  fs::create_symlink("nowhere", folder / "link");
  for (const char* name : {"empty", "link"}) {
    CHECK(contains(error_of([&] { move_folder(folder / "a", folder / name); }), "is in the way"));
  }
  CHECK(contains(error_of([&] { move_folder(folder / "b", folder / "c"); }), "cannot be renamed"));
  move_folder(folder / "a", folder / "b");
  CHECK(read_file(folder / "b/x") == "a");
}

TEST_CASE("a folder goes with what may not be written to in it, and links are not followed") {
  const TempDir folder;
  write(folder / "a/b/c/x", "x");
  write(folder / "mine/x", "mine");
  fs::create_directory_symlink("../../mine", folder / "a/b/link");
  fs::permissions(folder / "a/b/c", fs::perms::owner_read | fs::perms::owner_exec);
  fs::permissions(folder / "a/b", fs::perms::none);
  CHECK(remove_folder(folder / "a").empty());
  CHECK_FALSE(fs::exists(folder / "a"));
  CHECK(read_file(folder / "mine/x") == "mine");
}

TEST_CASE("a folder has one lock at a time, which follows the folder and not its name") {
  const TempDir folder;
  fs::create_directories(folder / "a");
  fs::create_directory_symlink("a", folder / "link");
  {
    const auto first = FolderLock::take(folder / "a");
    REQUIRE(first);
    CHECK(first->works());
    CHECK_FALSE(FolderLock::take(folder / "a"));
    fs::rename(folder / "a", folder / "b");
    CHECK_FALSE(FolderLock::take(folder / "b"));
    CHECK(first->is_of(folder / "b"));
    CHECK_FALSE(first->is_of(folder / "a"));
    fs::create_directories(folder / "a");
    CHECK(FolderLock::take(folder / "a"));
    CHECK_FALSE(first->is_of(folder / "a"));
  }
  CHECK(FolderLock::take(folder / "b"));
  CHECK_FALSE(FolderLock::take(folder / "missing"));
  CHECK(contains(error_of([&] { FolderLock::take(folder / "link"); }), "cannot open the folder"));
}

}  // namespace
}  // namespace mflux
