// SPDX-License-Identifier: MIT
// What a file holds, before it is turned upright and laid on white. All decoders give the values
// that Pillow gives, since Python's mflux reads pictures with it. They throw Error, naming the
// file; sizes are checked before anything is allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mflux {

struct Decoded {
  int height = 0;  // pixels, as stored
  int width = 0;
  int channels = 3;                  // 4: the last is alpha, colours not multiplied by it
  std::vector<uint8_t> values = {};  // [height, width, channels], rows from the top
  int orientation = 1;               // as EXIF counts, 1 to 8
};

// Of that size, all zero. Refuses none and more than 100 million pixels.
Decoded make_decoded(const std::string& name, uint64_t height, uint64_t width, int channels);

// Refuses a file in which so many bytes cannot be, as at best one byte of it gives `most`.
void check_expansion(const std::string& name, uint64_t bytes, size_t file_size, uint64_t most);

Decoded decode_png_file(std::span<const std::byte> bytes, const std::string& name);
Decoded decode_jpeg(std::span<const std::byte> bytes, const std::string& name);
Decoded decode_webp(std::span<const std::byte> bytes, const std::string& name);
Decoded decode_tiff(std::span<const std::byte> bytes, const std::string& name);
Decoded decode_bmp(std::span<const std::byte> bytes, const std::string& name);
Decoded decode_gif(std::span<const std::byte> bytes, const std::string& name);

// One channel of a pixel: `ink` is cyan, magenta or yellow, 255 where there is most.
constexpr uint8_t cmyk_to_rgb(int ink, int black) {
  const int light = 255 - black;
  return static_cast<uint8_t>(light - (ink * light + 127) / 255);
}

// A colour of a palette; those that a file leaves out are a ramp of grays, as in Pillow.
struct PaletteEntry {
  uint8_t red = 0;
  uint8_t green = 0;
  uint8_t blue = 0;
  uint8_t alpha = 255;
};

inline std::vector<PaletteEntry> gray_palette() {
  std::vector<PaletteEntry> palette;
  for (int i = 0; i < 256; ++i) {
    const auto gray = static_cast<uint8_t>(i);
    palette.push_back({gray, gray, gray});
  }
  return palette;
}

}  // namespace mflux
