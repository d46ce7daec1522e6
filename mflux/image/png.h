// SPDX-License-Identifier: MIT
// PNG files with text in them: a picture carries the recipe it was made by.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "mflux/image/picture.h"

namespace mflux {

// Keyword (1 to 79 Latin-1 characters) and text (UTF-8), in the order of the file.
using PngText = std::vector<std::pair<std::string, std::string>>;

constexpr const char* kRecipeKeyword = "mflux";  // of the text that `mflux generate` writes

// The bytes of a PNG file; each text as an iTXt chunk before the pixels.
std::vector<std::byte> encode_png(const Picture& picture, const PngText& text);
Picture decode_png(std::span<const std::byte> bytes, const std::string& name);

// The iTXt (uncompressed) and tEXt chunks of a PNG file.
PngText read_png_text(const std::filesystem::path& path);
PngText decode_png_text(std::span<const std::byte> bytes, const std::string& name);

// Whole or not at all: temporary file, sync, rename.
void write_png(const std::filesystem::path& path, const Picture& picture, const PngText& text);

}  // namespace mflux
