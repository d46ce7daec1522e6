// SPDX-License-Identifier: MIT
// The two resources we own, a descriptor and a mapping, and the few file operations that must not
// fail halfway.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace mflux {

// An open file; closed by the destructor. Reads and writes are positional, so threads may share
// one.
class File {
 public:
  static File open(const std::filesystem::path& path);  // for reading
  // For writing: a new file of `size` bytes, its mode by the umask. No file, folder or
  // link may have that name. Messages call it `shown`, if that is given.
  static File create(
      const std::filesystem::path& path, uint64_t size, const std::filesystem::path& shown = {});

  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File();

  uint64_t size() const;  // bytes
  // All of `out`, from `offset`. A file that ends early is an Error that says so.
  void read(uint64_t offset, std::span<std::byte> out) const;
  void write(uint64_t offset, std::span<const std::byte> data) const;
  void sync() const;  // returns when the bytes are on the device
  const std::filesystem::path& path() const { return path_; }
  int descriptor() const { return fd_; }

 private:
  File(int fd, std::filesystem::path path) : fd_(fd), path_(std::move(path)) {}
  int fd_ = -1;
  std::filesystem::path path_;
};

// A file's bytes, read-only, paged in as they are touched.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

std::string read_text(const std::filesystem::path& path);  // at most 100 MB, else an Error

// A file that appears under its name whole or not at all. Until then it grows next to it, under a
// name that nobody can foresee; one that is never published is removed by the destructor.
class NewFile {
 public:
  NewFile(const std::filesystem::path& path, uint64_t size);
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile();

  const File& file() const { return file_; }
  const std::filesystem::path& temporary() const { return temporary_; }
  void sync();
  void publish();  // sync, rename (what had the name is replaced), sync of the folder

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  File file_;
  bool synced_ = false;
  bool published_ = false;
};

// A name for what will take the place of `path`, in its folder: ".mflux-" and 16 random digits.
std::filesystem::path temporary_beside(const std::filesystem::path& path);
bool is_temporary(std::string_view name);  // whether a file of that name was left by a kill
std::string random_digits();               // 16 hexadecimal ones, from the system

// `text` appears under `path` whole or not at all.
void write_text_atomically(const std::filesystem::path& path, std::string_view text);

// Makes a rename in this folder survive a power cut.
void sync_folder(const std::filesystem::path& folder);

}  // namespace mflux
