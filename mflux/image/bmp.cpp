// SPDX-License-Identifier: MIT
// BMP is read here because Leptonica, the library for it that Debian and Homebrew have, reads no
// run lengths, no masks and not OS/2's header.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "mflux/base/error.h"
#include "mflux/image/decoded.h"

namespace mflux {
namespace {

constexpr size_t kFileHeader = 14;
constexpr uint32_t kOldHeader = 12;  // OS/2's, with sizes of 16 bits
constexpr std::array<uint32_t, 7> kHeaders = {kOldHeader, 40, 52, 56, 64, 108, 124};

constexpr uint32_t kUncompressed = 0;
constexpr uint32_t kRuns8 = 1;  // of 8 bits
constexpr uint32_t kRuns4 = 2;
constexpr uint32_t kMasks = 3;  // uncompressed, too

// A colour's bits in a pixel.
struct Mask {
  uint32_t bits = 0;

  uint8_t of(uint32_t pixel) const {
    if (bits == 0) return 0;
    const int shift = std::countr_zero(bits);
    return static_cast<uint8_t>(uint64_t{(pixel & bits) >> shift} * 255 / (bits >> shift));
  }
};

struct BmpHeader {
  uint32_t size = 0;
  uint32_t width = 0;
  uint32_t height = 0;
  bool from_top = false;
  uint32_t bits = 0;  // of a pixel
  uint32_t compression = kUncompressed;
  uint32_t colors = 0;
  std::array<Mask, 4> masks = {};  // red, green, blue, alpha
  size_t palette = 0;              // where it begins
  size_t palette_entry = 4;        // bytes
  size_t pixels = 0;               // where they begin
};

class BmpBytes {
 public:
  BmpBytes(std::span<const std::byte> bytes, const std::string& name)
      : bytes_(bytes), name_(name) {}

  size_t size() const { return bytes_.size(); }

  uint32_t number(uint64_t at, size_t count) const {
    if (at + count > bytes_.size()) fail("{}: the BMP is cut short", name_);
    uint32_t value = 0;
    for (size_t i = count; i-- > 0;) {
      value = value << 8 | std::to_integer<uint32_t>(bytes_[static_cast<size_t>(at) + i]);
    }
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& name_;
};

void settle_masks(const BmpBytes& bytes, BmpHeader& header) {
  if (header.compression != kMasks) {
    header.masks = header.bits == 16 ? std::array<Mask, 4>{{{0x7c00}, {0x3e0}, {0x1f}, {}}}
                                     : std::array<Mask, 4>{{{0xff0000}, {0xff00}, {0xff}, {}}};
    return;
  }
  // The alpha mask belongs to the header from version 3 on.
  const size_t count = header.size >= 56 ? 4 : 3;
  for (size_t i = 0; i < count; ++i)
    header.masks[i].bits = bytes.number(kFileHeader + 40 + i * 4, 4);
  if (header.size == 40) header.palette += 12;
}

void check(const BmpHeader& header, const std::string& name) {
  constexpr std::array<uint32_t, 6> kBits = {1, 4, 8, 16, 24, 32};
  const bool known_bits = std::ranges::find(kBits, header.bits) != kBits.end();
  const bool fits = header.compression == kUncompressed ||
                    (header.compression == kRuns8 && header.bits == 8) ||
                    (header.compression == kRuns4 && header.bits == 4) ||
                    (header.compression == kMasks && (header.bits == 16 || header.bits == 32));
  if (known_bits && fits) return;
  fail(
      "{}: a BMP of {} bits a pixel and compression {} cannot be read",
      name,
      header.bits,
      header.compression);
}

BmpHeader read_header(const BmpBytes& bytes, const std::string& name) {
  BmpHeader header;
  header.size = bytes.number(kFileHeader, 4);
  if (std::ranges::find(kHeaders, header.size) == kHeaders.end()) {
    fail("{}: a BMP with a header of {} bytes cannot be read", name, header.size);
  }
  const bool old = header.size == kOldHeader;
  header.width = bytes.number(18, old ? 2 : 4);
  header.height = bytes.number(old ? 20 : 22, old ? 2 : 4);
  header.bits = bytes.number(old ? 24 : 28, 2);
  if (!old) {
    header.from_top = (header.height >> 31) != 0;
    if (header.from_top) header.height = 0U - header.height;
    header.compression = bytes.number(30, 4);
    header.colors = bytes.number(46, 4);
  }
  check(header, name);
  header.palette = kFileHeader + header.size;
  header.palette_entry = old ? 3 : 4;
  settle_masks(bytes, header);
  if (header.bits <= 8) {
    const uint32_t most = 1U << header.bits;
    if (header.colors == 0) header.colors = most;
    if (header.colors > 65'536) fail("{}: the BMP has {} colours", name, header.colors);
  }
  const size_t palette_bytes = header.bits <= 8 ? header.colors * header.palette_entry : 0;
  header.pixels = bytes.number(10, 4);
  // Some writers forget the palette, or leave this out.
  if (header.pixels == 0 || (header.bits <= 8 && header.pixels == kFileHeader + header.size)) {
    header.pixels = header.palette + palette_bytes;
  }
  return header;
}

std::vector<PaletteEntry> read_palette(const BmpBytes& bytes, const BmpHeader& header) {
  std::vector<PaletteEntry> palette = gray_palette();
  const size_t count = std::min<size_t>(header.colors, palette.size());
  for (size_t i = 0; i < count; ++i) {
    const uint32_t color = bytes.number(header.palette + i * header.palette_entry, 3);
    palette[i] = {
        static_cast<uint8_t>(color >> 16),
        static_cast<uint8_t>(color >> 8),
        static_cast<uint8_t>(color)};
  }
  return palette;
}

uint8_t* row_of(Decoded& out, size_t y, bool from_top) {
  const size_t row = from_top ? y : static_cast<size_t>(out.height) - 1 - y;
  return &out.values[row * static_cast<size_t>(out.width) * static_cast<size_t>(out.channels)];
}

// Palette indices of run lengths, row after row; what a file leaves out is 0.
class Runs {
 public:
  Runs(const BmpBytes& bytes, const BmpHeader& header)
      : bytes_(bytes),
        at_(header.pixels),
        width_(header.width),
        nibbles_(header.compression == kRuns4),
        total_(size_t{header.width} * header.height) {}

  std::vector<uint8_t> read() {
    while (indices_.size() < total_ && at_ + 2 <= bytes_.size()) {
      const size_t count = next();
      const uint8_t what = next();
      if (count != 0) {
        repeat(std::min(count, width_ - std::min(width_, column_)), what);
      } else if (what == 0) {
        while (indices_.size() % width_ != 0) indices_.push_back(0);
        column_ = 0;
      } else if (what == 1) {
        break;
      } else if (what == 2) {
        skip();
      } else {
        copy(what);
      }
    }
    indices_.resize(total_);
    return std::move(indices_);
  }

 private:
  uint8_t next() { return static_cast<uint8_t>(bytes_.number(at_++, 1)); }

  void repeat(size_t count, uint8_t what) {
    for (size_t i = 0; i < count; ++i) {
      const int nibble = i % 2 == 0 ? what >> 4 : what & 15;
      indices_.push_back(nibbles_ ? static_cast<uint8_t>(nibble) : what);
    }
    column_ += count;
  }

  void skip() {
    const size_t right = next();
    const size_t up = next();
    indices_.resize(std::min(total_, indices_.size() + right + up * width_));
    column_ = indices_.size() % width_;
  }

  void copy(size_t count) {
    const size_t begin = at_;
    uint8_t pair = 0;
    for (size_t i = 0; i < count; ++i) {
      if (!nibbles_ || i % 2 == 0) pair = next();
      const int nibble = i % 2 == 0 ? pair >> 4 : pair & 15;
      indices_.push_back(nibbles_ ? static_cast<uint8_t>(nibble) : pair);
    }
    at_ += (at_ - begin) % 2;  // as many bytes as 16-bit words hold
    column_ += count;
  }

  const BmpBytes& bytes_;
  size_t at_ = 0;
  size_t width_ = 0;
  bool nibbles_ = false;
  size_t total_ = 0;
  size_t column_ = 0;
  std::vector<uint8_t> indices_ = {};
};

void read_runs(const BmpBytes& bytes, const BmpHeader& header, Decoded& out) {
  const std::vector<PaletteEntry> palette = read_palette(bytes, header);
  const std::vector<uint8_t> indices = Runs(bytes, header).read();
  for (size_t y = 0; y < header.height; ++y) {
    uint8_t* row = row_of(out, y, header.from_top);
    for (size_t x = 0; x < header.width; ++x) {
      std::memcpy(row + x * 3, &palette[indices[y * header.width + x]], 3);
    }
  }
}

void read_rows(const BmpBytes& bytes, const BmpHeader& header, size_t stride, Decoded& out) {
  const std::vector<PaletteEntry> palette =
      header.bits <= 8 ? read_palette(bytes, header) : std::vector<PaletteEntry>();
  const size_t pixel_bytes = header.bits / 8;
  const auto channels = static_cast<size_t>(out.channels);
  for (size_t y = 0; y < header.height; ++y) {
    const size_t begin = header.pixels + y * stride;
    uint8_t* row = row_of(out, y, header.from_top);
    for (size_t x = 0; x < header.width; ++x) {
      if (header.bits <= 8) {
        const size_t bit = x * header.bits;
        const uint32_t byte = bytes.number(begin + bit / 8, 1);
        const uint32_t index = (byte >> (8 - header.bits - bit % 8)) & ((1U << header.bits) - 1);
        std::memcpy(row + x * 3, &palette[index], 3);
        continue;
      }
      const uint32_t pixel = bytes.number(begin + x * pixel_bytes, pixel_bytes);
      for (size_t c = 0; c < channels; ++c) row[x * channels + c] = header.masks[c].of(pixel);
    }
  }
}

}  // namespace

Decoded decode_bmp(std::span<const std::byte> file, const std::string& name) {
  const BmpBytes bytes(file, name);
  const BmpHeader header = read_header(bytes, name);
  const size_t stride = (size_t{header.width} * header.bits + 31) / 32 * 4;
  const bool in_runs = header.compression == kRuns8 || header.compression == kRuns4;
  if (!in_runs &&
      (header.pixels > file.size() ||
       (header.height != 0 && stride > (file.size() - header.pixels) / header.height))) {
    fail("{}: the BMP is cut short", name);
  }
  const bool has_alpha = header.masks[3].bits != 0;
  Decoded decoded = make_decoded(name, header.height, header.width, has_alpha ? 4 : 3);
  if (in_runs) {
    read_runs(bytes, header, decoded);
  } else {
    read_rows(bytes, header, stride, decoded);
  }
  return decoded;
}

}  // namespace mflux
