// SPDX-License-Identifier: MIT
#include "mflux/image/png.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <png.h>
#include <zlib.h>

#include "mflux/base/error.h"
#include "mflux/base/file.h"

namespace mflux {
namespace {

constexpr std::array<unsigned char, 8> kSignature = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
constexpr size_t kHeaderChunk = 4 + 4 + 13 + 4;  // length, "IHDR", data, checksum

// What libpng holds of one picture; freed whatever happens.
class Image {
 public:
  Image() { image_.version = PNG_IMAGE_VERSION; }
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  ~Image() { png_image_free(&image_); }

  png_image* get() { return &image_; }
  png_image* operator->() { return &image_; }
  const char* message() const { return image_.message; }

 private:
  png_image image_ = {};
};

void append_number(std::vector<std::byte>& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8)
    out.push_back(static_cast<std::byte>(value >> shift));
}

uint32_t number_at(std::span<const std::byte> bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | std::to_integer<uint32_t>(bytes[at + i]);
  return value;
}

void append_chunk(std::vector<std::byte>& out, std::string_view type, std::string_view data) {
  append_number(out, static_cast<uint32_t>(data.size()));
  const size_t begin = out.size();
  for (const char c : type) out.push_back(static_cast<std::byte>(c));
  for (const char c : data) out.push_back(static_cast<std::byte>(c));
  const auto* checked = reinterpret_cast<const Bytef*>(out.data() + begin);
  append_number(
      out, static_cast<uint32_t>(crc32(0, checked, static_cast<uInt>(out.size() - begin))));
}

// Calls `use` with type and data of every chunk that is whole.
template <typename Use>
void each_chunk(std::span<const std::byte> bytes, const Use& use) {
  size_t at = kSignature.size();
  while (at + 12 <= bytes.size()) {
    const uint64_t size = number_at(bytes, at);
    if (size > bytes.size() - at - 12) return;
    const auto* text = reinterpret_cast<const char*>(bytes.data() + at + 4);
    use(std::string_view(text, 4), std::string_view(text + 4, size));
    at += 12 + size;
  }
}

bool has_signature(std::span<const std::byte> bytes) {
  return bytes.size() >= kSignature.size() &&
         std::memcmp(bytes.data(), kSignature.data(), kSignature.size()) == 0;
}

// Keyword, zero, two flags, language, zero, translated keyword, zero, text.
void add_international_text(std::string_view data, PngText& text) {
  const size_t keyword = data.find('\0');
  if (keyword == data.npos || keyword + 3 > data.size() || data[keyword + 1] != 0) return;
  const size_t language = data.find('\0', keyword + 3);
  if (language == data.npos) return;
  const size_t translated = data.find('\0', language + 1);
  if (translated == data.npos) return;
  text.emplace_back(data.substr(0, keyword), data.substr(translated + 1));
}

}  // namespace

std::vector<std::byte> encode_png(const Picture& picture, const PngText& text) {
  Image image;
  image->width = static_cast<png_uint_32>(picture.width);
  image->height = static_cast<png_uint_32>(picture.height);
  image->format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(*image.get());
  std::vector<std::byte> pixels(size);
  if (png_image_write_to_memory(
          image.get(), pixels.data(), &size, 0, picture.rgb.data(), 0, nullptr) == 0) {
    fail("cannot encode a PNG of {} x {}: {}", picture.width, picture.height, image.message());
  }
  pixels.resize(size);
  const size_t head = kSignature.size() + kHeaderChunk;
  std::vector<std::byte> out(pixels.begin(), pixels.begin() + static_cast<std::ptrdiff_t>(head));
  for (const auto& [keyword, value] : text) {
    append_chunk(out, "iTXt", keyword + std::string(5, '\0') + value);
  }
  out.insert(out.end(), pixels.begin() + static_cast<std::ptrdiff_t>(head), pixels.end());
  return out;
}

Picture decode_png(std::span<const std::byte> bytes, const std::string& name) {
  if (!has_signature(bytes)) fail("{}: not a PNG file", name);
  return decode_picture(bytes, name, Transparency::on_white);
}

PngText read_png_text(const std::filesystem::path& path) {
  return decode_png_text(read_picture_file(path), path.string());
}

PngText decode_png_text(std::span<const std::byte> bytes, const std::string& name) {
  if (!has_signature(bytes)) fail("{}: not a PNG file", name);
  PngText text;
  each_chunk(bytes, [&](std::string_view type, std::string_view data) {
    if (type == "iTXt") add_international_text(data, text);
    if (type != "tEXt") return;
    const size_t end = data.find('\0');
    if (end != data.npos) text.emplace_back(data.substr(0, end), data.substr(end + 1));
  });
  return text;
}

void write_png(const std::filesystem::path& path, const Picture& picture, const PngText& text) {
  const std::vector<std::byte> bytes = encode_png(picture, text);
  write_text_atomically(
      path, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

}  // namespace mflux
