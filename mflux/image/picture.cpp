// SPDX-License-Identifier: MIT
#include "mflux/image/picture.h"

#include <string_view>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/image/decoded.h"
#include "mflux/image/file_kind.h"
#include "mflux/image/orientation.h"

namespace mflux {
namespace {

constexpr uint64_t kMostPixels = 100'000'000;
constexpr uint64_t kMostBytes = 1'000'000'000;  // 8 for each pixel and more

uint8_t on_white(int value, int alpha) {
  return static_cast<uint8_t>((value * alpha + 255 * (255 - alpha) + 127) / 255);
}

Picture without_alpha(Decoded decoded, Transparency transparency) {
  Picture picture{decoded.height, decoded.width, std::move(decoded.values)};
  if (decoded.channels == 3) return picture;
  std::vector<uint8_t>& values = picture.rgb;
  const size_t pixels = values.size() / 4;
  for (size_t i = 0; i < pixels; ++i) {  // in place: what is written was read
    const int alpha = transparency == Transparency::dropped ? 255 : values[i * 4 + 3];
    for (size_t c = 0; c < 3; ++c) values[i * 3 + c] = on_white(values[i * 4 + c], alpha);
  }
  values.resize(pixels * 3);
  return picture;
}

}  // namespace

Decoded make_decoded(const std::string& name, uint64_t height, uint64_t width, int channels) {
  if (height == 0 || width == 0) fail("{}: a picture of {} x {} pixels", name, width, height);
  if (height > kMostPixels / width) {
    fail(
        "{}: {} x {} pixels are too many, at most {} million are read",
        name,
        width,
        height,
        kMostPixels / 1'000'000);
  }
  Decoded decoded{static_cast<int>(height), static_cast<int>(width), channels};
  decoded.values.resize(height * width * static_cast<uint64_t>(channels));
  return decoded;
}

void check_expansion(const std::string& name, uint64_t bytes, size_t file_size, uint64_t most) {
  if (bytes / most <= file_size) return;
  fail("{}: is cut short or damaged: {} bytes cannot hold such a picture", name, file_size);
}

Picture decode_picture(
    std::span<const std::byte> bytes, const std::string& name, Transparency transparency) {
  const FileKind& kind = file_kind(bytes, name);
  Decoded decoded = kind.decode(bytes, name);
  const int orientation = decoded.orientation;
  return upright(without_alpha(std::move(decoded), transparency), orientation);
}

std::vector<std::byte> read_picture_file(const std::filesystem::path& path) {
  const File file = File::open(path);
  const uint64_t size = file.size();
  if (size > kMostBytes) {
    fail("{}: {} bytes are too many for a picture, at most {}", path.string(), size, kMostBytes);
  }
  std::vector<std::byte> bytes(static_cast<size_t>(size));
  file.read(0, bytes);
  return bytes;
}

Picture read_picture(const std::filesystem::path& path, Transparency transparency) {
  return decode_picture(read_picture_file(path), path.string(), transparency);
}

}  // namespace mflux
