// SPDX-License-Identifier: MIT
// libtiff decompresses blocks (strips or tiles, a plane for each sample or all together), never the
// whole picture; their samples become 8-bit RGB here by Pillow's rules. Only brightness and colour
// apart (YCbCr) without JPEG are left to libtiff's own RGBA reader. Before anything is allocated
// the size is held to the file's.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>

#include <tiffio.h>

#include "mflux/base/error.h"
#include "mflux/image/decoded.h"
#include "mflux/image/orientation.h"

namespace mflux {
namespace {

constexpr tmsize_t kMostMemory = tmsize_t{1} << 30;  // of one allocation of libtiff's
constexpr size_t kMostSamples = 6;

// The file in memory, and the last thing that libtiff had to say.
struct TiffSource {
  std::span<const std::byte> bytes;
  uint64_t at = 0;
  std::array<char, 200> message = {};
};

tmsize_t read_source(thandle_t handle, void* out, tmsize_t size) {
  auto& source = *static_cast<TiffSource*>(handle);
  if (source.at >= source.bytes.size()) return 0;
  const size_t from = static_cast<size_t>(source.at);
  const size_t count = std::min(static_cast<size_t>(size), source.bytes.size() - from);
  std::memcpy(out, source.bytes.data() + from, count);
  source.at += count;
  return static_cast<tmsize_t>(count);
}

tmsize_t write_source(thandle_t, void*, tmsize_t) {
  return 0;
}

toff_t seek_source(thandle_t handle, toff_t offset, int whence) {
  auto& source = *static_cast<TiffSource*>(handle);
  if (whence == SEEK_CUR) offset += source.at;
  if (whence == SEEK_END) offset += source.bytes.size();
  return source.at = offset;
}

int close_source(thandle_t) {
  return 0;
}

toff_t size_source(thandle_t handle) {
  return static_cast<TiffSource*>(handle)->bytes.size();
}

int note_error(TIFF*, void* user, const char*, const char* format, va_list arguments) {
  auto& message = static_cast<TiffSource*>(user)->message;
  std::vsnprintf(message.data(), message.size(), format, arguments);
  return 1;
}

int ignore_warning(TIFF*, void*, const char*, const char*, va_list) {
  return 1;
}

using Tiff = std::unique_ptr<TIFF, void (*)(TIFF*)>;

Tiff open(TiffSource& source) {
  const std::unique_ptr<TIFFOpenOptions, void (*)(TIFFOpenOptions*)> options(
      TIFFOpenOptionsAlloc(), &TIFFOpenOptionsFree);
  TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), kMostMemory);
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), &note_error, &source);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), &ignore_warning, &source);
  return {
      TIFFClientOpenExt(
          "",
          "rm",  // not mapped: the file is in memory
          &source,
          &read_source,
          &write_source,
          &seek_source,
          &close_source,
          &size_source,
          nullptr,
          nullptr,
          options.get()),
      &TIFFClose};
}

template <typename T>
T field(TIFF* tiff, uint32_t tag) {
  T value = {};
  TIFFGetFieldDefaulted(tiff, tag, &value);
  return value;
}

struct TiffLayout {
  uint32_t width = 0;
  uint32_t height = 0;
  uint16_t bits = 0;  // of a sample
  size_t samples = 1;
  size_t colors = 1;  // samples that are no extra ones
  uint16_t photometric = PHOTOMETRIC_MINISWHITE;
  uint16_t compression = COMPRESSION_NONE;
  uint16_t format = SAMPLEFORMAT_UINT;
  bool separate = false;  // a plane for each sample
  bool has_alpha = false;
  bool multiplied = false;  // colours by alpha
  std::vector<PaletteEntry> palette = {};
};

void read_extra_samples(TIFF* tiff, TiffLayout& layout) {
  uint16_t count = 0;
  const uint16_t* kinds = nullptr;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &count, &kinds);
  layout.colors = layout.samples - std::min<size_t>(count, layout.samples);
  layout.has_alpha = count > 0 && kinds[0] != EXTRASAMPLE_UNSPECIFIED;
  layout.multiplied = count > 0 && kinds[0] == EXTRASAMPLE_ASSOCALPHA;
}

void read_palette(TIFF* tiff, TiffLayout& layout) {
  layout.palette = gray_palette();
  std::array<uint16_t*, 3> colors = {};
  if (layout.bits > 8 ||
      TIFFGetField(tiff, TIFFTAG_COLORMAP, &colors[0], &colors[1], &colors[2]) == 0) {
    return;
  }
  for (size_t i = 0; i < (size_t{1} << layout.bits); ++i) {
    layout.palette[i] = {
        static_cast<uint8_t>(colors[0][i] >> 8),
        static_cast<uint8_t>(colors[1][i] >> 8),
        static_cast<uint8_t>(colors[2][i] >> 8)};
  }
}

size_t expected_colors(uint16_t photometric) {
  switch (photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK:
    case PHOTOMETRIC_PALETTE:
      return 1;
    case PHOTOMETRIC_RGB:
    case PHOTOMETRIC_YCBCR:
      return 3;
    case PHOTOMETRIC_SEPARATED:
      return 4;
    default:
      return 0;
  }
}

void check(const TiffLayout& layout, const std::string& name) {
  const bool gray = layout.photometric <= PHOTOMETRIC_MINISBLACK;
  const bool narrow = layout.bits == 1 || layout.bits == 2 || layout.bits == 4;
  const bool one = gray || layout.photometric == PHOTOMETRIC_PALETTE;
  const bool known_bits = layout.bits == 8 || (narrow && layout.samples == 1 && one) ||
                          (layout.bits == 16 && layout.photometric != PHOTOMETRIC_PALETTE) ||
                          (layout.bits == 32 && gray);
  if (known_bits && layout.samples <= kMostSamples &&
      layout.colors == expected_colors(layout.photometric) &&
      (layout.photometric != PHOTOMETRIC_YCBCR || layout.samples == 3)) {
    return;
  }
  fail(
      "{}: a TIFF of {} sample(s) of {} bits and photometric interpretation {} cannot be read",
      name,
      layout.samples,
      layout.bits,
      layout.photometric);
}

TiffLayout read_layout(TIFF* tiff, const std::string& name) {
  TiffLayout layout{
      .width = field<uint32_t>(tiff, TIFFTAG_IMAGEWIDTH),
      .height = field<uint32_t>(tiff, TIFFTAG_IMAGELENGTH),
      .bits = field<uint16_t>(tiff, TIFFTAG_BITSPERSAMPLE),
      .samples = field<uint16_t>(tiff, TIFFTAG_SAMPLESPERPIXEL),
      .photometric = field<uint16_t>(tiff, TIFFTAG_PHOTOMETRIC),
      .compression = field<uint16_t>(tiff, TIFFTAG_COMPRESSION),
      .format = field<uint16_t>(tiff, TIFFTAG_SAMPLEFORMAT)};
  layout.separate = field<uint16_t>(tiff, TIFFTAG_PLANARCONFIG) == PLANARCONFIG_SEPARATE;
  read_extra_samples(tiff, layout);
  if (layout.photometric == PHOTOMETRIC_PALETTE) read_palette(tiff, layout);
  check(layout, name);
  return layout;
}

// Values of up to 32 bits; those under a byte begin at its high bits, others are in memory's order.
uint32_t sample_at(const uint8_t* row, size_t index, uint16_t bits) {
  if (bits < 8) {
    const size_t bit = index * bits;
    return (row[bit / 8] >> (8 - bits - bit % 8)) & ((1U << bits) - 1);
  }
  if (bits == 8) return row[index];
  if (bits == 16) {
    uint16_t value = 0;
    std::memcpy(&value, row + index * 2, 2);
    return value;
  }
  uint32_t value = 0;
  std::memcpy(&value, row + index * 4, 4);
  return value;
}

// Grays of more than 8 bits are cut off at 0 and 255: what Pillow does.
uint8_t deep_gray(uint32_t value, const TiffLayout& layout) {
  if (layout.format == SAMPLEFORMAT_IEEEFP) {
    const auto number = std::bit_cast<float>(value);
    return number > 0 ? static_cast<uint8_t>(std::min(number, 255.0F)) : uint8_t{0};
  }
  if (layout.format == SAMPLEFORMAT_INT) {
    const int32_t number =
        layout.bits == 16 ? static_cast<int16_t>(value) : static_cast<int32_t>(value);
    return static_cast<uint8_t>(std::clamp(number, 0, 255));
  }
  return static_cast<uint8_t>(std::min(value, 255U));
}

uint8_t gray(uint32_t value, const TiffLayout& layout) {
  if (layout.bits > 8) return deep_gray(value, layout);
  const uint32_t most = (1U << layout.bits) - 1;
  if (layout.photometric == PHOTOMETRIC_MINISWHITE) value = most - value;
  return static_cast<uint8_t>(value * 255 / most);
}

uint8_t unmultiplied(uint8_t value, uint8_t alpha) {
  if (alpha == 0 || alpha == 255) return value;
  return static_cast<uint8_t>(std::min(255, value * 255 / alpha));
}

void put_pixel(
    const TiffLayout& layout, const std::array<uint32_t, kMostSamples>& samples, uint8_t* out) {
  const auto byte = [&](size_t i) {
    return static_cast<uint8_t>(layout.bits == 16 ? samples[i] >> 8 : samples[i]);
  };
  std::array<uint8_t, 4> pixel = {};
  switch (layout.photometric) {
    case PHOTOMETRIC_PALETTE:
      std::memcpy(pixel.data(), &layout.palette[samples[0]], 3);
      break;
    case PHOTOMETRIC_SEPARATED:
      for (size_t c = 0; c < 3; ++c) pixel[c] = cmyk_to_rgb(byte(c), byte(3));
      break;
    case PHOTOMETRIC_RGB:
    case PHOTOMETRIC_YCBCR:
      for (size_t c = 0; c < 3; ++c) pixel[c] = byte(c);
      break;
    default:
      pixel.fill(gray(samples[0], layout));
  }
  if (layout.has_alpha) pixel[3] = byte(layout.colors);
  for (size_t c = 0; layout.multiplied && c < 3; ++c) pixel[c] = unmultiplied(pixel[c], pixel[3]);
  std::memcpy(out, pixel.data(), layout.has_alpha ? 4 : 3);
}

// A strip or tile on the picture.
struct Block {
  uint32_t top = 0;
  uint32_t left = 0;
  uint32_t rows = 0;
  uint32_t columns = 0;  // that lie in the picture
  size_t row_bytes = 0;
};

void put_block(
    const TiffLayout& layout,
    const Block& block,
    const std::vector<std::vector<uint8_t>>& planes,
    Decoded& out) {
  std::array<uint32_t, kMostSamples> samples = {};
  const auto channels = static_cast<size_t>(out.channels);
  for (uint32_t y = 0; y < block.rows; ++y) {
    const size_t begin = size_t{block.top + y} * layout.width + block.left;
    for (uint32_t x = 0; x < block.columns; ++x) {
      for (size_t s = 0; s < layout.samples; ++s) {
        const uint8_t* row = planes[layout.separate ? s : 0].data() + y * block.row_bytes;
        samples[s] = sample_at(row, layout.separate ? x : x * layout.samples + s, layout.bits);
      }
      put_pixel(layout, samples, &out.values[(begin + x) * channels]);
    }
  }
}

class BlockReader {
 public:
  BlockReader(TIFF* tiff, const TiffLayout& layout) : tiff_(tiff), layout_(layout) {
    tiled_ = TIFFIsTiled(tiff) != 0;
    if (tiled_) {
      rows_ = field<uint32_t>(tiff, TIFFTAG_TILELENGTH);
      columns_ = field<uint32_t>(tiff, TIFFTAG_TILEWIDTH);
      row_bytes_ = TIFFTileRowSize(tiff);
      bytes_ = TIFFTileSize(tiff);
    } else {
      rows_ = std::min(field<uint32_t>(tiff, TIFFTAG_ROWSPERSTRIP), layout.height);
      columns_ = layout.width;
      row_bytes_ = TIFFScanlineSize(tiff);
      bytes_ = TIFFStripSize(tiff);
    }
  }

  bool read(Decoded& out) {
    if (rows_ == 0 || columns_ == 0 || bytes_ <= 0 || bytes_ > kMostMemory) return false;
    const size_t bits = columns_ * size_t{layout_.bits} * (layout_.separate ? 1 : layout_.samples);
    if (static_cast<size_t>(row_bytes_) < (bits + 7) / 8) return false;
    std::vector<std::vector<uint8_t>> planes(
        layout_.separate ? layout_.samples : 1, std::vector<uint8_t>(static_cast<size_t>(bytes_)));
    for (uint32_t top = 0; top < layout_.height; top += rows_) {
      for (uint32_t left = 0; left < layout_.width; left += columns_) {
        const Block block{
            .top = top,
            .left = left,
            .rows = std::min(rows_, layout_.height - top),
            .columns = std::min(columns_, layout_.width - left),
            .row_bytes = static_cast<size_t>(row_bytes_)};
        if (!read_planes(block, planes)) return false;
        put_block(layout_, block, planes, out);
      }
    }
    return true;
  }

 private:
  bool read_planes(const Block& block, std::vector<std::vector<uint8_t>>& planes) const {
    for (size_t i = 0; i < planes.size(); ++i) {
      const auto plane = static_cast<uint16_t>(i);
      const tmsize_t count = tiled_ ? TIFFReadEncodedTile(
                                          tiff_,
                                          TIFFComputeTile(tiff_, block.left, block.top, 0, plane),
                                          planes[i].data(),
                                          bytes_)
                                    : TIFFReadEncodedStrip(
                                          tiff_,
                                          TIFFComputeStrip(tiff_, block.top, plane),
                                          planes[i].data(),
                                          row_bytes_ * static_cast<tmsize_t>(block.rows));
      if (count < row_bytes_ * static_cast<tmsize_t>(block.rows)) return false;
    }
    return true;
  }

  TIFF* tiff_;
  const TiffLayout& layout_;
  bool tiled_ = false;
  uint32_t rows_ = 0;
  uint32_t columns_ = 0;
  tmsize_t row_bytes_ = 0;
  tmsize_t bytes_ = 0;
};

// Brightness and colour apart, which libtiff puts together.
bool read_ycbcr(TIFF* tiff, Decoded& out) {
  const auto width = static_cast<uint32_t>(out.width);
  const auto height = static_cast<uint32_t>(out.height);
  std::vector<uint32_t> pixels(size_t{width} * height);
  if (TIFFReadRGBAImageOriented(tiff, width, height, pixels.data(), ORIENTATION_TOPLEFT, 1) == 0) {
    return false;
  }
  for (size_t i = 0; i < pixels.size(); ++i) {
    out.values[i * 3] = static_cast<uint8_t>(TIFFGetR(pixels[i]));
    out.values[i * 3 + 1] = static_cast<uint8_t>(TIFFGetG(pixels[i]));
    out.values[i * 3 + 2] = static_cast<uint8_t>(TIFFGetB(pixels[i]));
  }
  return true;
}

// Bytes that a compression makes of one; 0: there is no bound worth a check.
uint64_t most_expanded(uint16_t compression) {
  switch (compression) {
    case COMPRESSION_NONE:
      return 1;
    case COMPRESSION_PACKBITS:
      return 64;  // 128 of two
    case COMPRESSION_ADOBE_DEFLATE:
    case COMPRESSION_DEFLATE:
      return 1032;
    case COMPRESSION_LZW:
      return 4096;  // a string of the longest, of less than two bytes
    default:
      return 0;
  }
}

[[noreturn]] void refuse(const TiffSource& source, const std::string& name) {
  const std::string_view message = source.message.data();
  fail("{}: not a readable TIFF: {}", name, message.empty() ? "damaged or cut short" : message);
}

int read_orientation(TIFF* tiff) {
  uint16_t orientation = 0;
  if (TIFFGetField(tiff, TIFFTAG_ORIENTATION, &orientation) != 0) return orientation;
  uint32_t size = 0;
  const char* xmp = nullptr;
  if (TIFFGetField(tiff, TIFFTAG_XMLPACKET, &size, &xmp) == 0) return 1;
  return orientation_of({}, std::string_view(xmp, size));
}

}  // namespace

Decoded decode_tiff(std::span<const std::byte> bytes, const std::string& name) {
  TiffSource source{bytes};
  const Tiff tiff = open(source);
  if (tiff == nullptr) refuse(source, name);
  const TiffLayout layout = read_layout(tiff.get(), name);
  const bool apart = layout.photometric == PHOTOMETRIC_YCBCR;
  const bool jpeg = layout.compression == COMPRESSION_JPEG;
  const uint64_t most = most_expanded(layout.compression);
  if (most != 0 && !apart) {
    const uint64_t bits = uint64_t{layout.width} * layout.height * layout.bits;
    check_expansion(name, bits / 8, bytes.size(), most);
  }
  Decoded decoded = make_decoded(name, layout.height, layout.width, layout.has_alpha ? 4 : 3);
  if (apart && jpeg) TIFFSetField(tiff.get(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
  const bool done = apart && !jpeg ? read_ycbcr(tiff.get(), decoded)
                                   : BlockReader(tiff.get(), layout).read(decoded);
  if (!done) refuse(source, name);
  decoded.orientation = read_orientation(tiff.get());
  return decoded;
}

}  // namespace mflux
