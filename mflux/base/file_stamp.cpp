// SPDX-License-Identifier: MIT
#include "mflux/base/file_stamp.h"

#include <sys/stat.h>

#include <cerrno>
#include <system_error>

#include "mflux/base/error.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail_to_examine(const fs::path& path) {
  const int code = errno;
  fail("{}: cannot examine: {}", path.string(), std::generic_category().message(code));
}

FileStamp to_stamp(const struct stat& status) {
#ifdef __APPLE__
  const timespec& changed = status.st_mtimespec;
#else
  const timespec& changed = status.st_mtim;
#endif
  constexpr int64_t kNanoseconds = 1'000'000'000;
  return {
      .device = static_cast<uint64_t>(status.st_dev),
      .inode = static_cast<uint64_t>(status.st_ino),
      .bytes = static_cast<uint64_t>(status.st_size),
      .changed_ns = static_cast<int64_t>(changed.tv_sec) * kNanoseconds + changed.tv_nsec};
}

}  // namespace

FileStamp stamp_of(const File& file) {
  struct stat status = {};
  if (::fstat(file.descriptor(), &status) != 0) fail_to_examine(file.path());
  return to_stamp(status);
}

FileStamp stamp_of(const fs::path& path) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0) fail_to_examine(path);
  return to_stamp(status);
}

std::vector<FileStamp> stamps_of(std::span<const fs::path> paths) {
  std::vector<FileStamp> stamps;
  for (const fs::path& path : paths) stamps.push_back(stamp_of(path));
  return stamps;
}

void check_unchanged(const fs::path& path, const FileStamp& stamp) {
  const FileStamp now = stamp_of(path);
  if (now == stamp) return;
  if (now.device != stamp.device || now.inode != stamp.inode) {
    fail("{}: was replaced by another file while it was being read: start again", path.string());
  }
  fail(
      "{}: was written to while it was being read ({} bytes, before {}): start again",
      path.string(),
      now.bytes,
      stamp.bytes);
}

void check_unchanged(std::span<const fs::path> paths, std::span<const FileStamp> stamps) {
  for (size_t i = 0; i < paths.size(); ++i) check_unchanged(paths[i], stamps[i]);
}

}  // namespace mflux
