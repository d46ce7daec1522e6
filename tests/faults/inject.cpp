// SPDX-License-Identifier: MIT
// Loaded before libc (LD_PRELOAD) it counts the calls by which a program touches files, and at one
// of them lets it fail, move less than asked, or die. Told what to do by the environment:
//
//   FAULT_BELOW=/tmp/x   count only calls on this folder and what it holds; else all
//   FAULT_CALLS=a,b      count only calls of these names; else all
//   FAULT_AT=7           the call to spoil, the first is 1; else none
//   FAULT_LASTS=1        and every later one
//   FAULT_DO=            an errno as a number, or kill-before, kill-after, short
//   FAULT_LACKS=a,b      these calls the system does not know
//   FAULT_LOG=/tmp/log   gets a line "name path" for every call counted
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <type_traits>

#include <dlfcn.h>

namespace {

enum class Due { nothing, kill_before, kill_after, less, error };

std::string setting(const char* name) {
  const char* value = ::getenv(name);
  return value == nullptr ? "" : value;
}

// Read once: the program may change its environment.
struct Settings {
  std::string below = setting("FAULT_BELOW");
  std::string calls = "," + setting("FAULT_CALLS") + ",";
  std::string lacks = "," + setting("FAULT_LACKS") + ",";
  std::string what = setting("FAULT_DO");
  long at = std::atol(setting("FAULT_AT").c_str());
  bool lasts = !setting("FAULT_LASTS").empty();
  int log = setting("FAULT_LOG").empty() ? -1 : open_log();

  static int open_log() {
    return static_cast<int>(::syscall(
        SYS_openat,
        AT_FDCWD,
        setting("FAULT_LOG").c_str(),
        O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
        0600));
  }
};

const Settings& settings() {
  static const Settings result;
  return result;
}

std::string link_target(const std::string& link) {
  char buffer[PATH_MAX];
  const long length = ::syscall(SYS_readlinkat, AT_FDCWD, link.c_str(), buffer, sizeof buffer);
  return length < 0 ? "" : std::string(buffer, static_cast<size_t>(length));
}

std::string of(int fd) {
  return link_target("/proc/self/fd/" + std::to_string(fd));
}

std::string of(const char* path, int folder = AT_FDCWD) {
  const std::string text = path == nullptr ? "" : path;
  if (text.starts_with('/')) return text;
  return (folder == AT_FDCWD ? link_target("/proc/self/cwd") : of(folder)) + "/" + text;
}

bool is_below(const std::string& path, const std::string& folder) {
  if (!path.starts_with(folder)) return false;
  return folder.empty() || path.size() == folder.size() || path[folder.size()] == '/';
}

// What is due at this call, which is counted. errno stays as it is unless it is the fault.
Due due_at(std::string_view name, const std::string& path) {
  static std::atomic<long> count = 0;
  const Settings& all = settings();
  const int before = errno;
  const std::string listed = "," + std::string(name) + ",";
  if (all.lacks.find(listed) != std::string::npos) {
    errno = ENOSYS;
    return Due::error;
  }
  const bool named = all.calls == ",," || all.calls.find(listed) != std::string::npos;
  if (!named || !is_below(path, all.below)) return Due::nothing;
  if (all.log >= 0) {
    const std::string line = std::string(name) + " " + path + "\n";
    ::syscall(SYS_write, all.log, line.data(), line.size());
  }
  const long number = ++count;
  errno = before;
  if (all.at == 0 || number < all.at || (number > all.at && !all.lasts)) return Due::nothing;
  if (all.what == "kill-before") return Due::kill_before;
  if (all.what == "kill-after") return Due::kill_after;
  if (all.what == "short") return Due::less;
  errno = std::atoi(all.what.c_str());
  return Due::error;
}

void die() {
  ::syscall(SYS_kill, ::getpid(), SIGKILL);
}

template <typename Result>
Result failure() {
  if constexpr (std::is_same_v<Result, void*>) return MAP_FAILED;
  if constexpr (std::is_pointer_v<Result>) return nullptr;
  if constexpr (std::is_integral_v<Result>) return static_cast<Result>(-1);
}

// `call(size)` is the real one; `size` what it was asked to move, if it moves bytes.
template <typename Call>
auto spoiled(const char* name, const std::string& path, size_t size, Call call) {
  using Result = decltype(call(size));
  const Due due = due_at(name, path);
  if (due == Due::kill_before) die();
  if (due == Due::error) return failure<Result>();
  const Result result = call(due == Due::less && size > 1 ? size / 2 : size);
  if (due == Due::kill_after) die();
  return result;
}

template <typename Call>
auto spoiled(const char* name, const std::string& path, Call call) {
  return spoiled(name, path, 0, [&](size_t) { return call(); });
}

}  // namespace

// The function of libc that ours hides.
#define REAL(name)                                                                         \
  ([] {                                                                                    \
    static const auto real = reinterpret_cast<decltype(&::name)>(dlsym(RTLD_NEXT, #name)); \
    return real;                                                                           \
  }())

// RESULT NAME PARAMETERS, on the path or descriptor PLACE.
#define SPOILED(result, name, parameters, place, arguments)             \
  extern "C" result name parameters {                                   \
    return spoiled(#name, place, [&] { return REAL(name) arguments; }); \
  }

// ssize_t NAME PARAMETERS, which moves `size` bytes.
#define MOVES(name, parameters, place, arguments)                                          \
  extern "C" ssize_t name parameters {                                                     \
    return spoiled(#name, place, size, [&](size_t part) { return REAL(name) arguments; }); \
  }

// On 64-bit Linux these are two names of one function.
#define ALSO(name, other) asm(".globl " #other "\n.set " #other ", " #name);

MOVES(read, (int fd, void* data, size_t size), of(fd), (fd, data, part))
MOVES(write, (int fd, const void* data, size_t size), of(fd), (fd, data, part))
MOVES(pread, (int fd, void* data, size_t size, off_t at), of(fd), (fd, data, part, at))
MOVES(pwrite, (int fd, const void* data, size_t size, off_t at), of(fd), (fd, data, part, at))
MOVES(sendfile, (int to, int from, off_t* at, size_t size), of(to), (to, from, at, part))
MOVES(
    copy_file_range,
    (int from, off64_t* a, int to, off64_t* b, size_t size, unsigned flags),
    of(to),
    (from, a, to, b, part, flags))
SPOILED(ssize_t, writev, (int fd, const iovec* list, int count), of(fd), (fd, list, count))
ALSO(pread, pread64)
ALSO(pwrite, pwrite64)
ALSO(sendfile, sendfile64)

SPOILED(FILE*, fopen, (const char* path, const char* mode), of(path), (path, mode))
SPOILED(DIR*, opendir, (const char* path), of(path), (path))
SPOILED(DIR*, fdopendir, (int fd), of(fd), (fd))
SPOILED(dirent*, readdir, (DIR * folder), of(::dirfd(folder)), (folder))
ALSO(fopen, fopen64)
ALSO(readdir, readdir64)

SPOILED(int, stat, (const char* path, struct stat* out), of(path), (path, out))
SPOILED(int, lstat, (const char* path, struct stat* out), of(path), (path, out))
SPOILED(int, fstat, (int fd, struct stat* out), of(fd), (fd, out))
SPOILED(
    int,
    fstatat,
    (int dir, const char* path, struct stat* out, int how),
    of(path, dir),
    (dir, path, out, how))
SPOILED(
    int,
    statx,
    (int dir, const char* path, int flags, unsigned mask, struct statx* out),
    of(path, dir),
    (dir, path, flags, mask, out))
SPOILED(int, statvfs, (const char* path, struct statvfs* out), of(path), (path, out))
SPOILED(int, access, (const char* path, int mode), of(path), (path, mode))
SPOILED(char*, realpath, (const char* path, char* out), of(path), (path, out))
SPOILED(ssize_t, readlink, (const char* path, char* out, size_t size), of(path), (path, out, size))
ALSO(stat, stat64)
ALSO(lstat, lstat64)
ALSO(fstat, fstat64)
ALSO(fstatat, fstatat64)
ALSO(statvfs, statvfs64)

SPOILED(int, ftruncate, (int fd, off_t size), of(fd), (fd, size))
SPOILED(int, fallocate, (int fd, int mode, off_t at, off_t size), of(fd), (fd, mode, at, size))
SPOILED(int, fsync, (int fd), of(fd), (fd))
SPOILED(int, fdatasync, (int fd), of(fd), (fd))
SPOILED(int, fchmod, (int fd, mode_t mode), of(fd), (fd, mode))
SPOILED(int, chmod, (const char* path, mode_t mode), of(path), (path, mode))
SPOILED(
    int,
    fchmodat,
    (int dir, const char* path, mode_t mode, int flags),
    of(path, dir),
    (dir, path, mode, flags))
SPOILED(
    int,
    utimensat,
    (int dir, const char* path, const timespec* times, int flags),
    of(path, dir),
    (dir, path, times, flags))
SPOILED(int, flock, (int fd, int operation), of(fd), (fd, operation))
ALSO(ftruncate, ftruncate64)
ALSO(fallocate, fallocate64)

SPOILED(int, rename, (const char* from, const char* to), of(to), (from, to))
SPOILED(
    int, renameat, (int a, const char* from, int b, const char* to), of(to, b), (a, from, b, to))
SPOILED(
    int,
    renameat2,
    (int a, const char* from, int b, const char* to, unsigned flags),
    of(to, b),
    (a, from, b, to, flags))
SPOILED(int, link, (const char* from, const char* to), of(to), (from, to))
SPOILED(
    int,
    linkat,
    (int a, const char* from, int b, const char* to, int flags),
    of(to, b),
    (a, from, b, to, flags))
SPOILED(int, symlink, (const char* target, const char* path), of(path), (target, path))
SPOILED(int, unlink, (const char* path), of(path), (path))
SPOILED(int, unlinkat, (int dir, const char* path, int flags), of(path, dir), (dir, path, flags))
SPOILED(int, rmdir, (const char* path), of(path), (path))
SPOILED(int, remove, (const char* path), of(path), (path))
SPOILED(int, mkdir, (const char* path, mode_t mode), of(path), (path, mode))
SPOILED(int, mkdirat, (int dir, const char* path, mode_t mode), of(path, dir), (dir, path, mode))

// These have no place: they count whatever FAULT_BELOW says.
MOVES(getrandom, (void* data, size_t size, unsigned flags), settings().below, (data, part, flags))
SPOILED(int, getentropy, (void* data, size_t size), settings().below, (data, size))

// What may follow in a call is read whether or not it is there, which does no harm here.
extern "C" int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = va_arg(rest, mode_t);
  va_end(rest);
  return spoiled("open", of(path), [&] { return REAL(open)(path, flags, mode); });
}

extern "C" int openat(int dir, const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = va_arg(rest, mode_t);
  va_end(rest);
  return spoiled("openat", of(path, dir), [&] { return REAL(openat)(dir, path, flags, mode); });
}
ALSO(open, open64)
ALSO(openat, openat64)

#define TELLS(name, Command)                                                      \
  extern "C" int name(int fd, Command command, ...) {                             \
    va_list rest;                                                                 \
    va_start(rest, command);                                                      \
    void* with = va_arg(rest, void*);                                             \
    va_end(rest);                                                                 \
    return spoiled(#name, of(fd), [&] { return REAL(name)(fd, command, with); }); \
  }

TELLS(ioctl, unsigned long)
TELLS(fcntl, int)
ALSO(fcntl, fcntl64)

// Memory alone is no file.
extern "C" void* mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset) {
  const auto map = [&] { return REAL(mmap)(at, size, protection, flags, fd, offset); };
  return fd < 0 ? map() : spoiled("mmap", of(fd), map);
}
ALSO(mmap, mmap64)

// Linux closes the descriptor whatever it returns.
extern "C" int close(int fd) {
  const std::string path = of(fd);
  const int result = REAL(close)(fd);
  return spoiled("close", path, [&] { return result; });
}
