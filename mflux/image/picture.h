// SPDX-License-Identifier: MIT
// A picture as people see it: 8 bits of red, green and blue.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace mflux {

struct Picture {
  int height = 0;  // pixels
  int width = 0;
  std::vector<uint8_t> rgb = {};  // [height, width, 3], rows from the top
};

// What is done about transparency: white shows through, or it is as if there were none (masks, as
// in Python's mflux: where one is see-through, nothing is painted).
enum class Transparency : uint8_t { on_white, dropped };

// A PNG, JPEG, WebP, TIFF, BMP or GIF file, whatever its name; of several pictures the first.
// Turned as its EXIF or XMP says, with the values that Pillow and Python's mflux give. Throws Error
// for other formats (by name), damaged and cut files, and more than 100 million pixels.
Picture read_picture(
    const std::filesystem::path& path, Transparency transparency = Transparency::on_white);
// The bytes of a picture's file, at most 1 GB. Read, not mapped: a file that becomes shorter
// meanwhile is an Error.
std::vector<std::byte> read_picture_file(const std::filesystem::path& path);

Picture decode_picture(
    std::span<const std::byte> bytes, const std::string& name, Transparency transparency);

}  // namespace mflux
