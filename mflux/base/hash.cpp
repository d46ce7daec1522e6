// SPDX-License-Identifier: MIT
// StreamedHash goes along with whoever reads a file: bytes that continue what is hashed are taken
// from them, gaps are read here, what was hashed before is passed over. WrittenHash is the same for
// a writer whose pieces come out of order (a packed shard holds codes, scales and biases of a
// tensor apart): it remembers the ranges that were written ahead, one entry per range that hangs
// together, and reads each back once the gap before it is closed, as a rule from the page cache.
#include "mflux/base/hash.h"

#include <algorithm>
#include <array>
#include <new>
#include <vector>

#include <fmt/format.h>
#include <openssl/evp.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h>  // picks AVX2 or AVX-512 at run time
#else
#include <xxhash.h>
#endif

namespace mflux {
namespace {

constexpr uint64_t kChunkBytes = 1 << 20;

XXH3_state_t* as_state(void* state) {
  return static_cast<XXH3_state_t*>(state);
}

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1) {
      throw std::bad_alloc();
    }
  }

  void update(std::span<const std::byte> data) {
    EVP_DigestUpdate(context_.get(), data.data(), data.size());
  }

  std::string finish() {
    std::array<unsigned char, 32> digest{};
    EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr);
    std::string hex;
    for (const unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
    return hex;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace

void Hash::Free::operator()(void* state) const noexcept {
  XXH3_freeState(as_state(state));
}

Hash::Hash() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  XXH3_128bits_reset(as_state(state_.get()));
}

void Hash::update(std::span<const std::byte> data) {
  XXH3_128bits_update(as_state(state_.get()), data.data(), data.size());
}

std::string Hash::hex() const {
  const XXH128_hash_t value = XXH3_128bits_digest(as_state(state_.get()));
  return fmt::format("{:016x}{:016x}", value.high64, value.low64);
}

std::string hash_text(std::string_view text) {
  Hash hash;
  hash.update(std::as_bytes(std::span(text)));
  return hash.hex();
}

std::string hash_file(const std::filesystem::path& path) {
  const File file = File::open(path);
  return StreamedHash(file).finish();
}

std::string copy_and_hash(
    const std::filesystem::path& source, const std::filesystem::path& target) {
  const File from = File::open(source);
  const uint64_t size = from.size();
  NewFile to(target, size);
  Hash hash;
  std::vector<std::byte> chunk(std::min(kChunkBytes, size));
  for (uint64_t offset = 0; offset < size; offset += chunk.size()) {
    chunk.resize(std::min<uint64_t>(chunk.size(), size - offset));
    from.read(offset, chunk);
    to.file().write(offset, chunk);
    hash.update(chunk);
  }
  to.publish();
  return hash.hex();
}

std::string sha256_text(std::string_view text) {
  Sha256 hash;
  hash.update(std::as_bytes(std::span(text)));
  return hash.finish();
}

std::string sha256_file(const std::filesystem::path& path) {
  return sha256_file(File::open(path));
}

std::string sha256_file(const File& file) {
  Sha256 hash;
  std::vector<std::byte> buffer(kChunkBytes);
  const uint64_t size = file.size();
  for (uint64_t offset = 0; offset < size; offset += buffer.size()) {
    const std::span chunk(buffer.data(), std::min<uint64_t>(buffer.size(), size - offset));
    file.read(offset, chunk);
    hash.update(chunk);
  }
  return hash.finish();
}

std::string blob_sha256(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  if (error || real.parent_path().filename() != "blobs") return "";
  const std::string name = real.filename().string();
  const bool hex = name.find_first_not_of("0123456789abcdef") == std::string::npos;
  return hex && name.size() == 64 ? name : "";
}

void StreamedHash::advance(uint64_t offset, std::span<const std::byte> data) {
  if (offset + data.size() <= position_) return;
  catch_up(offset);
  hash_.update(data.subspan(position_ - offset));
  position_ = offset + data.size();
}

std::string StreamedHash::finish() {
  catch_up(file_->size());
  return hash_.hex();
}

void StreamedHash::catch_up(uint64_t offset) {
  if (offset <= position_) return;
  std::vector<std::byte> buffer(std::min(kChunkBytes, offset - position_));
  while (position_ < offset) {
    const std::span chunk(buffer.data(), std::min<uint64_t>(buffer.size(), offset - position_));
    file_->read(position_, chunk);
    hash_.update(chunk);
    position_ += chunk.size();
  }
}

void WrittenHash::add(uint64_t offset, std::span<const std::byte> data) {
  if (data.empty()) return;
  if (offset != hash_.position()) {
    const auto next = ahead_.upper_bound(offset);
    if (next != ahead_.begin() && std::prev(next)->second == offset) {
      std::prev(next)->second += data.size();
    } else {
      ahead_[offset] = offset + data.size();
    }
    return;
  }
  hash_.advance(offset, data);
  for (auto next = ahead_.find(hash_.position()); next != ahead_.end();
       next = ahead_.find(hash_.position())) {
    hash_.catch_up(next->second);
    ahead_.erase(next);
  }
}

}  // namespace mflux
