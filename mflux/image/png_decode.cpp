// SPDX-License-Identifier: MIT
// libpng gives samples as stored; palettes, grays, transparency and 16 bits become 8-bit RGB here,
// by Pillow's rules and not libpng's, which differ.
#include <algorithm>
#include <array>
#include <charconv>
#include <csetjmp>
#include <cstring>
#include <optional>
#include <string_view>

#include <png.h>

#include "mflux/base/error.h"
#include "mflux/image/decoded.h"
#include "mflux/image/orientation.h"

namespace mflux {
namespace {

constexpr uint64_t kMostInflated = 1032;  // bytes that deflate makes of one

constexpr png_uint_32 kMostTexts = 32;
constexpr png_alloc_size_t kMostTextBytes = 4'000'000;  // each, decompressed
constexpr auto kIgnored = std::to_array<png_byte>(
    {'i', 'C', 'C', 'P', 0, 's', 'P', 'L', 'T', 0, 'h', 'I', 'S', 'T', 0, 'p', 'C', 'A', 'L', 0});

// libpng leaves a call that fails by a jump: over C alone, since no method makes objects.
class PngReader {
 public:
  explicit PngReader(std::span<const std::byte> bytes)
      : left_(bytes),
        png_(png_create_read_struct(PNG_LIBPNG_VER_STRING, this, &on_error, &on_warning)) {
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
  }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }

  bool read_header() {
    if (info_ == nullptr || setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_read_fn(png_, this, &on_read);
    // Colour profiles and suggested palettes are not looked at, and texts, which may be compressed,
    // only a few: what they become in memory is many times what they are in the file.
    png_set_keep_unknown_chunks(
        png_, PNG_HANDLE_CHUNK_NEVER, kIgnored.data(), static_cast<int>(kIgnored.size() / 5));
    png_set_chunk_cache_max(png_, kMostTexts);
    png_set_chunk_malloc_max(png_, kMostTextBytes);
    png_read_info(png_, info_);
    return true;
  }

  // A byte or two for each sample, as stored: no gamma, which Pillow does not apply either.
  bool prepare() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_packing(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }

  bool read_rows(png_bytepp rows) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_image(png_, rows);
    return true;
  }

  bool read_rest() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_end(png_, info_);
    return true;
  }

  png_structp png() const { return png_; }
  png_infop info() const { return info_; }
  const char* message() const { return message_.data(); }

 private:
  static void on_error(png_structp png, png_const_charp message) {
    auto& self = *static_cast<PngReader*>(png_get_error_ptr(png));
    std::strncpy(self.message_.data(), message, self.message_.size() - 1);
    png_longjmp(png, 1);
  }

  static void on_warning(png_structp, png_const_charp) {}

  static void on_read(png_structp png, png_bytep out, size_t size) {
    auto& left = static_cast<PngReader*>(png_get_io_ptr(png))->left_;
    if (size > left.size()) png_error(png, "the file is cut short");
    std::memcpy(out, left.data(), size);
    left = left.subspan(size);
  }

  std::array<char, 128> message_ = {};
  std::span<const std::byte> left_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

struct PngKind {
  int bits = 8;   // of a sample in the file
  int color = 0;  // PNG_COLOR_TYPE_...
  int samples = 1;
};

// What is one colour away from being seen: gray or RGB that is transparent.
std::optional<std::array<int, 3>> transparent_color(const PngReader& reader, const PngKind& kind) {
  png_bytep alphas = nullptr;
  int count = 0;
  png_color_16p color = nullptr;
  if ((kind.color & ~PNG_COLOR_MASK_COLOR) != 0 ||
      png_get_tRNS(reader.png(), reader.info(), &alphas, &count, &color) == 0) {
    return std::nullopt;
  }
  const int shift = kind.bits == 16 ? 8 : 0;
  if (kind.color == PNG_COLOR_TYPE_RGB) {
    return {{color->red >> shift, color->green >> shift, color->blue >> shift}};
  }
  return {{color->gray, color->gray, color->gray}};
}

std::vector<PaletteEntry> read_palette(const PngReader& reader, bool& transparent) {
  std::vector<PaletteEntry> palette = gray_palette();
  png_colorp colors = nullptr;
  int count = 0;
  if (png_get_PLTE(reader.png(), reader.info(), &colors, &count) != 0) {
    for (size_t i = 0; i < static_cast<size_t>(std::min(count, 256)); ++i) {
      palette[i] = {colors[i].red, colors[i].green, colors[i].blue};
    }
  }
  png_bytep alphas = nullptr;
  transparent = png_get_tRNS(reader.png(), reader.info(), &alphas, &count, nullptr) != 0;
  if (transparent) {
    for (size_t i = 0; i < static_cast<size_t>(std::min(count, 256)); ++i) {
      palette[i].alpha = alphas[i];
    }
  }
  return palette;
}

void convert_indices(const PngReader& reader, std::span<const png_byte> raw, Decoded& out) {
  bool transparent = false;
  const std::vector<PaletteEntry> palette = read_palette(reader, transparent);
  out.channels = transparent ? 4 : 3;
  const auto channels = static_cast<size_t>(out.channels);
  out.values.resize(raw.size() * channels);
  for (size_t i = 0; i < raw.size(); ++i) {
    std::memcpy(&out.values[i * channels], &palette[raw[i]], channels);
  }
}

// Gray of 16 bits is cut off at 255 and colours lose their low byte: what Pillow does.
int gray_value(const png_byte* sample, int bits) {
  if (bits == 16) return sample[0] != 0 ? 255 : sample[1];
  return *sample * 255 / ((1 << bits) - 1);
}

void convert_samples(
    const PngReader& reader, const PngKind& kind, std::span<const png_byte> raw, Decoded& out) {
  const auto transparent = transparent_color(reader, kind);
  const bool has_alpha = (kind.color & PNG_COLOR_MASK_ALPHA) != 0;
  out.channels = has_alpha || transparent ? 4 : 3;
  const size_t bytes = kind.bits == 16 ? 2 : 1;
  const size_t stride = static_cast<size_t>(kind.samples) * bytes;
  const bool is_gray = (kind.color & PNG_COLOR_MASK_COLOR) == 0;
  const bool deep_gray = kind.color == PNG_COLOR_TYPE_GRAY && kind.bits == 16;
  out.values.clear();
  out.values.reserve(raw.size() / stride * static_cast<size_t>(out.channels));
  for (size_t at = 0; at + stride <= raw.size(); at += stride) {
    bool equal = transparent.has_value() && !deep_gray;  // Pillow knows none in deep grays
    for (size_t c = 0; c < 3; ++c) {
      const png_byte* sample = &raw[at + (is_gray ? 0 : c * bytes)];
      out.values.push_back(static_cast<uint8_t>(
          kind.color == PNG_COLOR_TYPE_GRAY ? gray_value(sample, kind.bits) : *sample));
      if (equal) equal = *sample == (*transparent)[c];
    }
    if (has_alpha) {
      out.values.push_back(raw[at + stride - bytes]);
    } else if (transparent) {
      out.values.push_back(equal ? 0 : 255);
    }
  }
}

std::vector<std::byte> from_hex(std::string_view text) {
  std::vector<std::byte> bytes;
  std::string digits;
  for (const char c : text) {
    if (c == '\n') continue;
    digits += c;
    if (digits.size() < 2) continue;
    unsigned value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + 2, value, 16);
    if (error != std::errc() || end != digits.data() + 2) break;
    bytes.push_back(static_cast<std::byte>(value));
    digits.clear();
  }
  return bytes;
}

// ImageMagick writes EXIF as text: an empty line, the name, the size, hexadecimal digits.
std::vector<std::byte> from_raw_profile(std::string_view text) {
  for (int line = 0; line < 3; ++line) {
    const size_t end = text.find('\n');
    if (end == text.npos) return {};
    text.remove_prefix(end + 1);
  }
  return from_hex(text);
}

[[noreturn]] void refuse(const PngReader& reader, const std::string& name) {
  fail("{}: not a readable PNG: {}", name, reader.message());
}

int read_orientation(const PngReader& reader) {
  png_bytep exif = nullptr;
  png_uint_32 size = 0;
  std::span<const std::byte> block;
  if (png_get_eXIf_1(reader.png(), reader.info(), &size, &exif) != 0) {
    block = std::as_bytes(std::span(exif, size));
  }
  std::vector<std::byte> profile;
  std::string_view xmp;
  png_textp texts = nullptr;
  int count = 0;
  png_get_text(reader.png(), reader.info(), &texts, &count);
  for (int i = 0; i < count; ++i) {
    const png_text& text = texts[i];
    const size_t length = text.compression > 0 ? text.itxt_length : text.text_length;
    const std::string_view value(text.text, length);
    if (std::string_view(text.key) == "XML:com.adobe.xmp") xmp = value;
    if (std::string_view(text.key) == "Raw profile type exif") profile = from_raw_profile(value);
  }
  return orientation_of(block.empty() ? std::span<const std::byte>(profile) : block, xmp);
}

}  // namespace

Decoded decode_png_file(std::span<const std::byte> bytes, const std::string& name) {
  PngReader reader(bytes);
  if (!reader.read_header()) refuse(reader, name);
  const png_uint_32 width = png_get_image_width(reader.png(), reader.info());
  const png_uint_32 height = png_get_image_height(reader.png(), reader.info());
  check_expansion(
      name,
      uint64_t{png_get_rowbytes(reader.png(), reader.info())} * height,
      bytes.size(),
      kMostInflated);
  Decoded decoded = make_decoded(name, height, width, 3);
  PngKind kind{
      .bits = png_get_bit_depth(reader.png(), reader.info()),
      .color = png_get_color_type(reader.png(), reader.info()),
      .samples = png_get_channels(reader.png(), reader.info())};
  if (!reader.prepare()) refuse(reader, name);
  const size_t row_bytes = png_get_rowbytes(reader.png(), reader.info());
  std::vector<png_byte> raw(row_bytes * height);
  std::vector<png_bytep> rows;
  for (size_t y = 0; y < height; ++y) rows.push_back(&raw[y * row_bytes]);
  if (!reader.read_rows(rows.data())) refuse(reader, name);
  reader.read_rest();  // a file that ends after its pixels is a picture still
  if (kind.color == PNG_COLOR_TYPE_PALETTE) {
    convert_indices(reader, raw, decoded);
  } else {
    convert_samples(reader, kind, raw, decoded);
  }
  decoded.orientation = read_orientation(reader);
  return decoded;
}

}  // namespace mflux
