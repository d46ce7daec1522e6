// SPDX-License-Identifier: MIT
// Who may write into a folder.
#pragma once

#include <filesystem>
#include <optional>

namespace mflux {

// The right to write into a folder, which one process has at a time. It ends with the process,
// however that ends. It binds those who ask for it and no other program.
class FolderLock {
 public:
  // None if another has it, or the folder is gone. Throws Error if `folder` is not a folder, or a
  // link to one.
  static std::optional<FolderLock> take(const std::filesystem::path& folder);

  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&& other) noexcept;
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock();

  // False on a file system without locks (some network disks): nobody is kept out then.
  bool works() const { return works_; }
  // Whether `folder` is still the one that was locked, not another of its name.
  bool is_of(const std::filesystem::path& folder) const;

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_ = -1;
  bool works_ = true;
};

}  // namespace mflux
