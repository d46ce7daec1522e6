// SPDX-License-Identifier: MIT
// A command spoiled at one of the calls by which it touches files: what can go wrong at which call,
// and which calls there are to try. tests/faults/inject.cpp does it, inside the program.
//
//   const auto calls = calls_of(save, folder, kChanging);
//   for (const size_t at : points(calls))
//     run_program(spoiled(save, {.what = "kill-before", .calls = kChanging, .below = folder, .at =
//     at}));
#pragma once

#include <cerrno>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/process.h"

namespace mflux::testing {

// Names in libc, with commas between them.
inline constexpr const char* kAnyCall = "";
inline constexpr const char* kChanging =  // the disk is another after it
    "open,openat,pwrite,write,writev,sendfile,copy_file_range,ftruncate,fallocate,fsync,fdatasync,"
    "rename,renameat,renameat2,link,linkat,symlink,unlink,unlinkat,rmdir,remove,mkdir,mkdirat,"
    "chmod,fchmod,fchmodat,utimensat,ioctl,flock,fcntl";
inline constexpr const char* kGrowing =  // needs space
    "pwrite,write,writev,sendfile,copy_file_range,ftruncate,fallocate,fsync,fdatasync,mkdir,"
    "mkdirat,"
    "rename,renameat,renameat2,link,linkat,symlink";
inline constexpr const char* kNaming =  // needs a right
    "open,openat,opendir,stat,lstat,fstatat,realpath,readlink,rename,renameat,renameat2,link,"
    "linkat,"
    "symlink,unlink,unlinkat,rmdir,remove,mkdir,mkdirat,chmod,fchmodat";
inline constexpr const char* kWaiting =  // may be interrupted
    "open,read,write,pread,pwrite,fsync,fdatasync,ftruncate,flock,fcntl,close,getrandom";
inline constexpr const char* kMoving =  // may move less than asked
    "read,write,pread,pwrite,sendfile,copy_file_range,getrandom";

// The `at`-th call, from 1, of these names on files in and below a folder.
struct Fault {
  std::string what = {};  // kill-before, kill-after, short, or an errno
  const char* calls = kAnyCall;
  std::filesystem::path below = {};
  size_t at = 1;
  bool lasts = false;  // and every later call
};

// If not, says that the test is skipped.
bool can_inject();

// Where the system does not know these calls; with none, the call itself.
ProgramCall lacking(ProgramCall call, const std::string& calls);
ProgramCall spoiled(ProgramCall call, const Fault& fault);

// Those of an undisturbed run: "name path" each.
std::vector<std::string> calls_of(
    ProgramCall call, const std::filesystem::path& below, const char* calls);

// Whether every point is to be tried, not only as many as a quick test has time for:
// MFLUX_FAULTS=all in the environment, as in scripts/faults.sh.
bool try_all();

// Which of the calls to try: all, or one of each name in each folder if it changes anything, and a
// few of each name if it only reads.
std::vector<size_t> points(const std::vector<std::string>& calls);

// What was tried and what did not hold.
class Tries {
 public:
  explicit Tries(std::string title) : title_(std::move(title)) {}
  void begin(std::string point);
  void check(bool holds, std::string_view promise);
  void conclude() const;  // the figure, and the test's failure if a promise did not hold

 private:
  std::string title_;
  std::string point_ = {};
  size_t tried_ = 0;
  std::map<std::string, std::vector<std::string>> broken_ = {};  // by point
};

}  // namespace mflux::testing
