// SPDX-License-Identifier: MIT
#include <memory>
#include <string_view>

#include <turbojpeg.h>

#include "mflux/base/error.h"
#include "mflux/image/decoded.h"
#include "mflux/image/orientation.h"

namespace mflux {
namespace {

// A block of 8 x 8 pixels takes a bit or more of each component, but for arithmetic coding, for
// which there is no such bound.
constexpr uint64_t kMostPixelsPerByte = uint64_t{64} * 8;
// Each scan passes over the whole picture, however few bytes it has. Programs write about ten.
constexpr size_t kMostScans = 50;
constexpr unsigned kStartOfScan = 0xda;
constexpr unsigned kEnd = 0xd9;
constexpr unsigned kApplication1 = 0xe1;

struct JpegHeader {
  int orientation = 1;
  bool arithmetic = false;
  size_t scans = 0;
};

bool has_length(unsigned marker) {
  return marker > 0x01 && (marker < 0xd0 || marker > 0xd8);
}

// Of markers before the first scan, and how many scans there are. A byte of a scan that looks like
// the beginning of a marker is followed by zero, which has no length.
JpegHeader read_header(std::span<const std::byte> bytes) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  constexpr std::string_view kXmp("http://ns.adobe.com/xap/1.0/\0", 29);
  std::span<const std::byte> exif;
  std::string_view xmp;
  JpegHeader header;
  const auto byte = [&](size_t at) { return std::to_integer<unsigned>(bytes[at]); };
  size_t at = 2;
  while (at + 4 <= bytes.size()) {
    if (byte(at) != 0xff || byte(at + 1) == 0xff) {
      ++at;  // bytes between segments mean nothing
      continue;
    }
    const unsigned marker = byte(at + 1);
    at += 2;
    if (marker == kEnd) break;
    if (!has_length(marker)) continue;
    const size_t length = byte(at) << 8 | byte(at + 1);
    if (length > bytes.size() - at) break;
    if (length < 2) {  // libjpeg goes on behind it
      at += 2;
      continue;
    }
    if (marker == kStartOfScan) ++header.scans;
    const std::span<const std::byte> data = bytes.subspan(at + 2, length - 2);
    const std::string_view text(reinterpret_cast<const char*>(data.data()), data.size());
    at += length;
    if (header.scans > 0) continue;
    if (marker == kApplication1 && exif.empty() && text.starts_with(kExif)) exif = data;
    if (marker == kApplication1 && text.starts_with(kXmp)) xmp = text.substr(kXmp.size());
    if (marker >= 0xc9 && marker <= 0xcf && marker != 0xcc) header.arithmetic = true;
  }
  header.orientation = orientation_of(exif, xmp);
  return header;
}

// As stored by Adobe, and so by all: 255 where there is no ink.
void convert_cmyk(const std::vector<uint8_t>& cmyk, std::vector<uint8_t>& rgb) {
  for (size_t i = 0; i < cmyk.size() / 4; ++i) {
    for (size_t c = 0; c < 3; ++c) {
      rgb[i * 3 + c] = cmyk_to_rgb(255 - cmyk[i * 4 + c], 255 - cmyk[i * 4 + 3]);
    }
  }
}

}  // namespace

Decoded decode_jpeg(std::span<const std::byte> bytes, const std::string& name) {
  const std::unique_ptr<void, int (*)(tjhandle)> handle(tjInitDecompress(), &tjDestroy);
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto size = static_cast<unsigned long>(bytes.size());
  int width = 0;
  int height = 0;
  int subsampling = 0;
  int colors = 0;
  if (handle == nullptr ||
      tjDecompressHeader3(handle.get(), data, size, &width, &height, &subsampling, &colors) != 0) {
    fail("{}: not a readable JPEG: {}", name, tjGetErrorStr2(handle.get()));
  }
  const JpegHeader header = read_header(bytes);
  const uint64_t pixels = static_cast<uint64_t>(width) * static_cast<uint64_t>(height);
  if (!header.arithmetic) check_expansion(name, pixels, bytes.size(), kMostPixelsPerByte);
  if (header.scans > kMostScans) {
    fail("{}: the JPEG has {} scans, at most {} are read", name, header.scans, kMostScans);
  }
  Decoded decoded =
      make_decoded(name, static_cast<uint64_t>(height), static_cast<uint64_t>(width), 3);
  decoded.orientation = header.orientation;
  const bool is_cmyk = colors == TJCS_CMYK || colors == TJCS_YCCK;
  std::vector<uint8_t> cmyk(is_cmyk ? pixels * 4 : 0);
  const int result = tjDecompress2(
      handle.get(),
      data,
      size,
      is_cmyk ? cmyk.data() : decoded.values.data(),
      width,
      0,
      height,
      is_cmyk ? TJPF_CMYK : TJPF_RGB,
      TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS);
  if (result != 0) {
    // Damaged data are told as a warning, and the rest of the picture is gray.
    const std::string_view message = tjGetErrorStr2(handle.get());
    if (message.find("remature end") != message.npos)
      fail("{}: the JPEG is cut short or damaged", name);
    if (tjGetErrorCode(handle.get()) == TJERR_FATAL) {
      fail("{}: not a readable JPEG: {}", name, message);
    }
  }
  if (is_cmyk) convert_cmyk(cmyk, decoded.values);
  return decoded;
}

}  // namespace mflux
