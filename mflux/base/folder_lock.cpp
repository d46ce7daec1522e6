// SPDX-License-Identifier: MIT
// An flock on the open folder itself: it needs no file in it and ends with the process, however
// that ends. On file systems without locks it is taken all the same, and works() says that it means
// nothing.
#include "mflux/base/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "mflux/base/error.h"

namespace mflux {
namespace fs = std::filesystem;

std::optional<FolderLock> FolderLock::take(const fs::path& folder) {
  // Between open and flock the folder may be removed, and another made in its place.
  while (true) {
    const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == EINTR) continue;
    if (fd < 0 && errno == ENOENT) return std::nullopt;
    if (fd < 0) {
      fail(
          "{}: cannot open the folder: {}",
          folder.string(),
          std::generic_category().message(errno));
    }
    FolderLock lock(fd);
    int result = 0;
    do {
      result = ::flock(fd, LOCK_EX | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    if (result != 0 && errno == EWOULDBLOCK) return std::nullopt;
    lock.works_ = result == 0;
    if (lock.is_of(folder)) return lock;
  }
}

FolderLock::FolderLock(FolderLock&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), works_(other.works_) {}

FolderLock& FolderLock::operator=(FolderLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(works_, other.works_);
  return *this;
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) ::close(fd_);
}

bool FolderLock::is_of(const fs::path& folder) const {
  struct stat locked = {};
  struct stat named = {};
  return ::fstat(fd_, &locked) == 0 && ::lstat(folder.c_str(), &named) == 0 &&
         locked.st_dev == named.st_dev && locked.st_ino == named.st_ino;
}

}  // namespace mflux
