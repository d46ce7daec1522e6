// SPDX-License-Identifier: MIT
#include "mflux/base/share_file.h"

#include <sys/ioctl.h>
#include <unistd.h>

#ifdef __APPLE__
#include <sys/clonefile.h>
#endif

#include <system_error>

#include "mflux/base/error.h"
#include "mflux/base/file.h"

namespace mflux {
namespace {

// Whether `target` shares the blocks of `source` now. It must not exist.
bool reflink(const std::filesystem::path& source, const std::filesystem::path& target) {
#ifdef __APPLE__
  return ::clonefile(source.c_str(), target.c_str(), 0) == 0;
#else
  constexpr unsigned long kCloneFile = _IOW(0x94, 9, int);  // FICLONE of linux/fs.h
  const File from = File::open(source);
  const File to = File::create(target, 0);
  if (::ioctl(to.descriptor(), kCloneFile, from.descriptor()) == 0) return true;
  ::unlink(target.c_str());
  return false;
#endif
}

}  // namespace

void share_file(const std::filesystem::path& source, const std::filesystem::path& target) {
  std::filesystem::path temporary = target;
  temporary += ".tmp";
  ::unlink(temporary.c_str());
  if (!reflink(source, temporary) && ::link(source.c_str(), temporary.c_str()) != 0) {
    std::error_code error;
    std::filesystem::copy_file(source, temporary, error);
    if (error) {
      ::unlink(temporary.c_str());
      fail("{}: cannot copy to {}: {}", source.string(), target.string(), error.message());
    }
  }
  File::open(temporary).sync();
  std::error_code error;
  std::filesystem::rename(temporary, target, error);
  if (error) fail("{}: cannot replace: {}", target.string(), error.message());
  ::unlink(temporary.c_str());  // still there if both are names of one file
  sync_folder(target.has_parent_path() ? target.parent_path() : ".");
}

}  // namespace mflux
