// SPDX-License-Identifier: MIT
// Reflink, hard link, copy are tried in this order; each is made under a hidden name and renamed,
// so a target appears whole or not at all. Only the copy reads the bytes.
#include "mflux/base/share_file.h"

#include <sys/ioctl.h>
#include <unistd.h>

#ifdef __APPLE__
#include <sys/clonefile.h>
#endif

#include <system_error>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/base/hash.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

// Renames what has its bytes on the device already.
void put_in_place(const fs::path& temporary, const fs::path& target) {
  std::error_code error;
  fs::rename(temporary, target, error);
  ::unlink(temporary.c_str());  // still there if both are names of one file
  if (error) fail("{}: cannot replace: {}", target.string(), error.message());
  sync_folder(target.has_parent_path() ? target.parent_path() : ".");
}

// Whether `target` shares the blocks of `source` now.
bool reflink(const fs::path& source, const fs::path& target) {
#ifdef __APPLE__
  const fs::path temporary = temporary_beside(target);
  if (::clonefile(source.c_str(), temporary.c_str(), 0) != 0) return false;
  put_in_place(temporary, target);
  return true;
#else
  constexpr unsigned long kCloneFile = _IOW(0x94, 9, int);  // FICLONE of linux/fs.h
  const File from = File::open(source);
  NewFile to(target, 0);
  if (::ioctl(to.file().descriptor(), kCloneFile, from.descriptor()) != 0) return false;
  to.publish();
  return true;
#endif
}

bool hard_link(const fs::path& source, const fs::path& target) {
  const fs::path temporary = temporary_beside(target);
  if (::link(source.c_str(), temporary.c_str()) != 0) return false;
  put_in_place(temporary, target);
  return true;
}

}  // namespace

void share_file(const fs::path& source, const fs::path& target) {
  if (reflink(source, target) || hard_link(source, target)) return;
  copy_and_hash(source, target);
}

}  // namespace mflux
