// SPDX-License-Identifier: MIT
// The whole file is read into memory, its first bytes choose a decoder, and what that gives is laid
// on white in place and turned upright.
#include "mflux/image/picture.h"

#include <array>
#include <utility>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/image/decoded.h"
#include "mflux/image/file_kind.h"

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

// Where a pixel of the upright picture comes from: first its axes are swapped, then turned around.
struct Turn {
  bool swaps = false;
  bool from_right = false;   // of the stored picture
  bool from_bottom = false;  // of the stored picture
};

constexpr std::array<Turn, 9> kTurns = {{
    {},
    {},
    {false, true, false},
    {false, true, true},
    {false, false, true},
    {true, false, false},
    {true, false, true},
    {true, true, true},
    {true, true, false},
}};

// Of a picture as stored; orientations other than 2 to 8 change nothing.
Picture upright(Picture picture, int orientation) {
  if (orientation < 2 || orientation > 8) return picture;
  const Turn turn = kTurns[static_cast<size_t>(orientation)];
  Picture result{
      turn.swaps ? picture.width : picture.height, turn.swaps ? picture.height : picture.width, {}};
  result.rgb.reserve(picture.rgb.size());
  for (int y = 0; y < result.height; ++y) {
    for (int x = 0; x < result.width; ++x) {
      const int across = turn.swaps ? y : x;
      const int down = turn.swaps ? x : y;
      const auto column =
          static_cast<size_t>(turn.from_right ? picture.width - 1 - across : across);
      const auto row = static_cast<size_t>(turn.from_bottom ? picture.height - 1 - down : down);
      const uint8_t* pixel = &picture.rgb[(row * static_cast<size_t>(picture.width) + column) * 3];
      result.rgb.insert(result.rgb.end(), pixel, pixel + 3);
    }
  }
  return result;
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
