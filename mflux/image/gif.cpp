// SPDX-License-Identifier: MIT
// The first frame on its canvas. Extensions before it are read for one thing, the transparent
// index; what follows is not looked at.
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>

#include <gif_lib.h>

#include "mflux/base/error.h"
#include "mflux/image/decoded.h"

namespace mflux {
namespace {

constexpr int kGraphicControl = 0xf9;

struct GifSource {
  std::span<const std::byte> left;
};

int read_source(GifFileType* gif, GifByteType* out, int size) {
  auto& left = static_cast<GifSource*>(gif->UserData)->left;
  const size_t count = std::min(left.size(), static_cast<size_t>(size));
  std::memcpy(out, left.data(), count);
  left = left.subspan(count);
  return static_cast<int>(count);
}

void close(GifFileType* gif) {
  DGifCloseFile(gif, nullptr);
}

using Gif = std::unique_ptr<GifFileType, void (*)(GifFileType*)>;

[[noreturn]] void refuse(const std::string& name, int error) {
  const char* message = GifErrorString(error);
  fail("{}: not a readable GIF: {}", name, message == nullptr ? "damaged" : message);
}

// The transparent index, if this extension names one.
void read_extension(
    GifFileType& gif, const std::string& name, std::optional<uint8_t>& transparent) {
  int code = 0;
  GifByteType* block = nullptr;
  if (DGifGetExtension(&gif, &code, &block) == GIF_ERROR) refuse(name, gif.Error);
  // Size, flags, delay (2), index.
  if (code == kGraphicControl && block != nullptr && block[0] >= 4 && (block[1] & 1) != 0) {
    transparent = block[4];
  }
  while (block != nullptr) {
    if (DGifGetExtensionNext(&gif, &block) == GIF_ERROR) refuse(name, gif.Error);
  }
}

std::vector<PaletteEntry> palette_of(const GifFileType& gif, std::optional<uint8_t> transparent) {
  std::vector<PaletteEntry> palette = gray_palette();
  const ColorMapObject* map = gif.Image.ColorMap != nullptr ? gif.Image.ColorMap : gif.SColorMap;
  if (map != nullptr) {
    for (size_t i = 0; i < static_cast<size_t>(std::min(map->ColorCount, 256)); ++i) {
      palette[i] = {map->Colors[i].Red, map->Colors[i].Green, map->Colors[i].Blue};
    }
  }
  if (transparent) palette[*transparent].alpha = 0;
  return palette;
}

// Rows of a frame in the order of the file.
std::vector<int> row_order(const GifImageDesc& frame) {
  constexpr std::array<std::pair<int, int>, 4> kPasses = {{{0, 8}, {4, 8}, {2, 4}, {1, 2}}};
  std::vector<int> rows;
  if (!frame.Interlace) {
    for (int y = 0; y < frame.Height; ++y) rows.push_back(y);
    return rows;
  }
  for (const auto& [first, step] : kPasses) {
    for (int y = first; y < frame.Height; y += step) rows.push_back(y);
  }
  return rows;
}

// The frame on its canvas, which elsewhere is transparent, or of the first colour.
Decoded decode_frame(
    GifFileType& gif, const std::string& name, std::optional<uint8_t> transparent) {
  if (DGifGetImageDesc(&gif) == GIF_ERROR) refuse(name, gif.Error);
  const GifImageDesc& frame = gif.Image;
  const auto width = static_cast<uint64_t>(std::max(gif.SWidth, frame.Left + frame.Width));
  const auto height = static_cast<uint64_t>(std::max(gif.SHeight, frame.Top + frame.Height));
  Decoded decoded = make_decoded(name, height, width, transparent ? 4 : 3);
  const auto channels = static_cast<size_t>(decoded.channels);
  const std::vector<PaletteEntry> palette = palette_of(gif, transparent);
  const auto put = [&](size_t pixel, uint8_t index) {
    std::memcpy(&decoded.values[pixel * channels], &palette[index], channels);
  };
  for (size_t i = 0; i < width * height; ++i) put(i, transparent.value_or(0));
  std::vector<GifPixelType> line(static_cast<size_t>(frame.Width));
  for (const int row : row_order(frame)) {
    if (DGifGetLine(&gif, line.data(), frame.Width) == GIF_ERROR) refuse(name, gif.Error);
    const auto begin = static_cast<size_t>(frame.Top + row) * width;
    for (size_t x = 0; x < line.size(); ++x) {
      put(begin + static_cast<size_t>(frame.Left) + x, line[x]);
    }
  }
  return decoded;
}

}  // namespace

Decoded decode_gif(std::span<const std::byte> bytes, const std::string& name) {
  GifSource source{bytes};
  int error = 0;
  const Gif gif(DGifOpen(&source, &read_source, &error), &close);
  if (gif == nullptr) refuse(name, error);
  std::optional<uint8_t> transparent;
  while (true) {
    GifRecordType record = UNDEFINED_RECORD_TYPE;
    if (DGifGetRecordType(gif.get(), &record) == GIF_ERROR) refuse(name, gif->Error);
    if (record == IMAGE_DESC_RECORD_TYPE) return decode_frame(*gif, name, transparent);
    if (record == TERMINATE_RECORD_TYPE) fail("{}: the GIF holds no picture", name);
    if (record == EXTENSION_RECORD_TYPE) read_extension(*gif, name, transparent);
  }
}

}  // namespace mflux
