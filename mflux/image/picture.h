// SPDX-License-Identifier: MIT
// A picture as people see it: 8 bits of red, green and blue.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace mflux {

struct Picture {
  int height = 0;  // pixels
  int width = 0;
  std::vector<uint8_t> rgb = {};  // [height, width, 3], rows from the top
};

// A PNG or JPEG file; transparency is laid on black. Throws Error for other formats, damaged files,
// and more than 100 million pixels.
Picture read_picture(const std::filesystem::path& path);

}  // namespace mflux
