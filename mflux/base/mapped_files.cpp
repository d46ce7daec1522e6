// SPDX-License-Identifier: MIT
#include "mflux/base/mapped_files.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "mflux/base/error.h"
#include "mflux/base/file.h"

namespace mflux {
namespace {

std::byte* map(std::byte* at, uint64_t size, int protection, int flags, const File& file) {
  const int descriptor = (flags & MAP_ANONYMOUS) != 0 ? -1 : file.descriptor();
  void* data = ::mmap(at, static_cast<size_t>(size), protection, flags, descriptor, 0);
  if (data != MAP_FAILED) return static_cast<std::byte*>(data);
  const int code = errno;
  fail("{}: cannot map: {}", file.path().string(), std::generic_category().message(code));
}

void unmap(const std::byte* data, size_t size) {
  if (data != nullptr) ::munmap(const_cast<std::byte*>(data), size);
}

}  // namespace

MappedFiles::MappedFiles(std::span<const std::filesystem::path> paths) {
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  std::vector<File> files;
  uint64_t end = 0;
  for (const std::filesystem::path& path : paths) {
    files.push_back(File::open(path));
    const uint64_t begin = (end + page - 1) / page * page;
    end = begin + files.back().size();
    places_.push_back({begin, end});
  }
  if (end == 0) return;  // an empty range cannot be mapped
  // One range for all, in which each file then takes its place.
  std::byte* range = map(nullptr, end, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, files.front());
  try {
    for (size_t i = 0; i < files.size(); ++i) {
      const uint64_t size = places_[i].end - places_[i].begin;
      if (size == 0) continue;
      map(range + places_[i].begin, size, PROT_READ, MAP_PRIVATE | MAP_FIXED, files[i]);
    }
  } catch (...) {
    unmap(range, static_cast<size_t>(end));
    throw;
  }
  data_ = range;
  size_ = static_cast<size_t>(end);
}

MappedFiles::MappedFiles(MappedFiles&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      places_(std::move(other.places_)) {}

MappedFiles& MappedFiles::operator=(MappedFiles&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(places_, other.places_);
  return *this;
}

MappedFiles::~MappedFiles() {
  unmap(data_, size_);
}

}  // namespace mflux
