// SPDX-License-Identifier: MIT
// Every call is repeated if a signal interrupts it, and reads and writes go on until all bytes are
// moved, since a call may move fewer. New files are made with O_EXCL and O_NOFOLLOW, so nothing is
// written through a name that was there before.
#include "mflux/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <system_error>
#include <utility>

#include "mflux/base/error.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kTemporary = ".mflux-";
constexpr uint64_t kMaxTextBytes = 100'000'000;
constexpr size_t kMaxTransferBytes = size_t{1} << 30;  // Linux moves less than 2 GiB in one call

[[noreturn]] void fail_errno(const fs::path& path, std::string_view what) {
  const int code = errno;
  fail("{}: {}: {}", path.string(), what, std::generic_category().message(code));
}

// Repeats a call that a signal interrupted.
template <typename Call>
auto retry(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

// A Mac's fsync leaves the bytes in the device's own memory; F_FULLFSYNC does not, but some disks
// there (network, FAT) do not know it.
int sync_to_device(int fd) {
#ifdef F_FULLFSYNC
  if (retry([&] { return ::fcntl(fd, F_FULLFSYNC); }) == 0) return 0;
  if (errno != ENOTSUP && errno != EOPNOTSUPP && errno != EINVAL && errno != ENOTTY) return -1;
#endif
  return retry([&] { return ::fsync(fd); });
}

struct stat status_of(int fd, const fs::path& path) {
  struct stat status = {};
  if (retry([&] { return ::fstat(fd, &status); }) != 0) fail_errno(path, "cannot examine");
  return status;
}

}  // namespace

File File::open(const fs::path& path) {
  // Without O_NONBLOCK, opening a pipe would wait for its writer before we can refuse it.
  const int fd = retry([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); });
  if (fd < 0) fail_errno(path, "cannot open");
  File file(fd, path);
  if (!S_ISREG(status_of(fd, path).st_mode)) fail("{}: not a file", path.string());
  return file;
}

File File::create(const fs::path& path, uint64_t size, const fs::path& shown) {
  constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
  const fs::path& name = shown.empty() ? path : shown;
  if (!std::in_range<off_t>(size)) fail("{}: cannot create {} bytes", name.string(), size);
  const int fd = retry([&] { return ::open(path.c_str(), kFlags, 0666); });
  if (fd < 0) fail_errno(name, "cannot create");
  File file(fd, name);
  if (retry([&] { return ::ftruncate(fd, static_cast<off_t>(size)); }) != 0) {
    const int code = errno;
    ::unlink(path.c_str());
    errno = code;
    fail_errno(name, fmt::format("cannot set the size to {} bytes", size));
  }
  return file;
}

File::File(File&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  return *this;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

uint64_t File::size() const {
  return static_cast<uint64_t>(status_of(fd_, path_).st_size);
}

void File::read(uint64_t offset, std::span<std::byte> out) const {
  const uint64_t end = offset + out.size();
  if (end < offset || !std::in_range<off_t>(end)) {
    fail("{}: cannot read {} bytes at {}", path_.string(), out.size(), offset);
  }
  while (!out.empty()) {
    const size_t wanted = std::min(out.size(), kMaxTransferBytes);
    const ssize_t got =
        retry([&] { return ::pread(fd_, out.data(), wanted, static_cast<off_t>(offset)); });
    if (got < 0) fail_errno(path_, fmt::format("cannot read {} bytes at {}", wanted, offset));
    if (got == 0) {
      fail(
          "{}: ends at byte {}, but byte {} is needed. Perhaps an incomplete download?",
          path_.string(),
          size(),
          end);
    }
    offset += static_cast<uint64_t>(got);
    out = out.subspan(static_cast<size_t>(got));
  }
}

void File::write(uint64_t offset, std::span<const std::byte> data) const {
  const uint64_t end = offset + data.size();
  if (end < offset || !std::in_range<off_t>(end)) {
    fail("{}: cannot write {} bytes at {}", path_.string(), data.size(), offset);
  }
  while (!data.empty()) {
    const size_t wanted = std::min(data.size(), kMaxTransferBytes);
    const ssize_t done =
        retry([&] { return ::pwrite(fd_, data.data(), wanted, static_cast<off_t>(offset)); });
    if (done < 0) fail_errno(path_, fmt::format("cannot write {} bytes at {}", wanted, offset));
    if (done == 0) fail("{}: nothing could be written at {}", path_.string(), offset);
    offset += static_cast<uint64_t>(done);
    data = data.subspan(static_cast<size_t>(done));
  }
}

void File::sync() const {
  if (sync_to_device(fd_) != 0) fail_errno(path_, "cannot write to the device");
}

MappedFile::MappedFile(const fs::path& path) {
  const File file = File::open(path);
  const uint64_t size = file.size();
  if (!std::in_range<size_t>(size)) fail("{}: {} bytes are too many to map", path.string(), size);
  if (size == 0) return;  // an empty range cannot be mapped
  void* data =
      ::mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
  if (data == MAP_FAILED) fail_errno(path, "cannot map");
  data_ = static_cast<const std::byte*>(data);
  size_ = static_cast<size_t>(size);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

std::string read_text(const fs::path& path) {
  const File file = File::open(path);
  const uint64_t size = file.size();
  if (size > kMaxTextBytes) {
    fail("{}: {} bytes of text, expected at most {}", path.string(), size, kMaxTextBytes);
  }
  std::string text(static_cast<size_t>(size), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

std::string random_digits() {
  std::random_device system;
  return fmt::format("{:08x}{:08x}", system(), system());
}

fs::path temporary_beside(const fs::path& path) {
  return path.parent_path() / (std::string(kTemporary) + random_digits());
}

bool is_temporary(std::string_view name) {
  if (!name.starts_with(kTemporary)) return false;
  name.remove_prefix(kTemporary.size());
  return name.size() == 16 && name.find_first_not_of("0123456789abcdef") == name.npos;
}

NewFile::NewFile(const fs::path& path, uint64_t size)
    : path_(path),
      temporary_(temporary_beside(path)),
      file_(File::create(temporary_, size, path)) {}

NewFile::~NewFile() {
  if (!published_) ::unlink(temporary().c_str());
}

void NewFile::sync() {
  if (!synced_) file_.sync();
  synced_ = true;
}

void NewFile::publish() {
  sync();
  if (::rename(temporary().c_str(), path_.c_str()) != 0) fail_errno(path_, "cannot replace");
  published_ = true;
  sync_folder(path_.has_parent_path() ? path_.parent_path() : ".");
}

void write_text_atomically(const fs::path& path, std::string_view text) {
  NewFile file(path, text.size());
  file.file().write(0, std::as_bytes(std::span(text)));
  file.publish();
}

void sync_folder(const fs::path& folder) {
  const int fd = retry([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (fd < 0) fail_errno(folder, "cannot open the folder");
  const int result = sync_to_device(fd);
  const int code = errno;
  ::close(fd);
  // Some file systems cannot sync a folder and say EINVAL; there is nothing left to do then.
  if (result != 0 && code != EINVAL) {
    errno = code;
    fail_errno(folder, "cannot write the folder to the device");
  }
}

}  // namespace mflux
