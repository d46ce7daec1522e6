// SPDX-License-Identifier: MIT
// One system call exchanges two folders, on Linux and on Macs. Only where the file system says that
// it cannot are there two renames instead; any other error is reported, and nothing has changed.
#include "mflux/base/folders.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdio>  // renameat2, renamex_np

#include "mflux/base/error.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

// 0, or -1 with errno.
int exchange(const fs::path& a, const fs::path& b) {
#ifdef __APPLE__
  return ::renamex_np(a.c_str(), b.c_str(), RENAME_SWAP);
#elif defined(RENAME_EXCHANGE)
  return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE);
#else
  errno = ENOSYS;
  return -1;
#endif
}

[[noreturn]] void fail_to_replace(const fs::path& path, const std::string& reason) {
  fail("{}: cannot be replaced: {}", path.string(), reason);
}

// Gives the owner every right to the folders in `folder`.
void make_writable(const fs::path& folder) {
  std::error_code ignored;
  fs::permissions(folder, fs::perms::owner_all, fs::perm_options::add, ignored);
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    if (fs::is_directory(entry.symlink_status(ignored))) make_writable(entry.path());
  }
}

}  // namespace

fs::path swap_folders(const fs::path& fresh, const fs::path& old, const fs::path& aside) {
  if (exchange(fresh, old) == 0) return fresh;
  if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP && errno != EOPNOTSUPP) {
    fail_to_replace(old, std::generic_category().message(errno));
  }
  move_folder(old, aside);
  try {
    move_folder(fresh, old);
  } catch (const Error& error) {
    move_folder(aside, old);
    fail_to_replace(old, error.what());
  }
  return aside;
}

void move_folder(const fs::path& folder, const fs::path& to) {
  std::error_code error;
  if (fs::exists(fs::symlink_status(to, error))) {
    fail("{}: is in the way of {}", to.string(), folder.string());
  }
  fs::rename(folder, to, error);
  if (error) fail("{}: cannot be renamed to {}: {}", folder.string(), to.string(), error.message());
}

std::string remove_folder(const fs::path& folder) {
  std::error_code error;
  fs::remove_all(folder, error);
  if (!error) return "";
  make_writable(folder);
  fs::remove_all(folder, error);
  return error ? error.message() : "";
}

}  // namespace mflux
