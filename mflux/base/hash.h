// SPDX-License-Identifier: MIT
// XXH3-128, the checksum of the receipt: https://github.com/Cyan4973/xxHash (not cryptographic).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "mflux/base/file.h"

namespace mflux {

class Hash {
 public:
  Hash();
  void update(std::span<const std::byte> data);
  std::string hex() const;  // 32 lower-case digits, as `xxhsum -H2` prints

 private:
  struct Free {
    void operator()(void* state) const noexcept;
  };
  std::unique_ptr<void, Free> state_;
};

std::string hash_text(std::string_view text);
std::string hash_file(const std::filesystem::path& path);

// Copies the bytes, synced; the mode is that of a new file, whatever the source's is. Returns the
// hash of what was copied.
std::string copy_and_hash(const std::filesystem::path& source, const std::filesystem::path& target);

std::string sha256_text(std::string_view text);
std::string sha256_file(const std::filesystem::path& path);  // 64 lower-case digits
std::string sha256_file(const File& file);
// The sha256 that the Hugging Face cache gives for free: the name of the blob that `path` links to;
// "" if it gives none.
std::string blob_sha256(const std::filesystem::path& path);

// The hash of a file that somebody else is reading: chunks that arrive in order cost no second
// read; whatever was skipped is read here.
class StreamedHash {
 public:
  explicit StreamedHash(const File& file) : file_(&file) {}
  void advance(uint64_t offset, std::span<const std::byte> data);
  void catch_up(uint64_t offset);  // reads up to there
  std::string finish();            // reads what is left
  uint64_t position() const { return position_; }

 private:
  const File* file_;
  Hash hash_;
  uint64_t position_ = 0;
};

// The hash of a file that is being written in pieces, each byte once, in any order. A piece that
// continues what is hashed already costs no read.
class WrittenHash {
 public:
  explicit WrittenHash(const File& file) : hash_(file) {}
  void add(uint64_t offset, std::span<const std::byte> data);  // after it was written
  std::string finish() { return hash_.finish(); }

 private:
  StreamedHash hash_;
  std::map<uint64_t, uint64_t> ahead_;  // written but not hashed: begin -> end
};

}  // namespace mflux
