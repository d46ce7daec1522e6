// SPDX-License-Identifier: MIT
// EXIF is a TIFF directory, of which one entry is looked for; XMP is searched as text for one
// attribute. Neither is parsed further: nothing else of them counts.
#include "mflux/image/orientation.h"

#include <cstdint>
#include <cstring>

namespace mflux {
namespace {

constexpr unsigned kOrientationTag = 0x0112;
constexpr unsigned kShort = 3;
constexpr unsigned kLong = 4;
constexpr size_t kEntrySize = 12;  // tag, type, count, value or its offset

// Reads numbers of a TIFF block; past its end there are zeros.
struct Numbers {
  std::span<const std::byte> bytes;
  bool little = true;

  uint64_t at(uint64_t offset, size_t size) const {
    if (offset + size > bytes.size()) return 0;
    uint64_t value = 0;
    for (size_t i = 0; i < size; ++i) {
      const size_t from = static_cast<size_t>(offset) + (little ? size - 1 - i : i);
      value = value << 8 | std::to_integer<uint64_t>(bytes[from]);
    }
    return value;
  }
};

bool begins(std::span<const std::byte> bytes, std::string_view with) {
  return bytes.size() >= with.size() && std::memcmp(bytes.data(), with.data(), with.size()) == 0;
}

}  // namespace

int exif_orientation(std::span<const std::byte> exif) {
  constexpr std::string_view kPrefix("Exif\0\0", 6);
  while (begins(exif, kPrefix)) exif = exif.subspan(kPrefix.size());
  if (!begins(exif, "II") && !begins(exif, "MM")) return 0;
  const Numbers numbers{exif, begins(exif, "II")};
  const uint64_t directory = numbers.at(4, 4);
  const uint64_t entries = numbers.at(directory, 2);
  for (uint64_t i = 0; i < entries; ++i) {
    const uint64_t entry = directory + 2 + i * kEntrySize;
    if (numbers.at(entry, 2) != kOrientationTag) continue;
    const uint64_t type = numbers.at(entry + 2, 2);
    if (numbers.at(entry + 4, 4) != 1 || (type != kShort && type != kLong)) return 0;
    const uint64_t value = numbers.at(entry + 8, type == kShort ? 2 : 4);
    return value <= 8 ? static_cast<int>(value) : 1;
  }
  return 0;
}

int xmp_orientation(std::string_view xmp) {
  constexpr std::string_view kKey = "tiff:Orientation";
  for (size_t at = xmp.find(kKey); at != xmp.npos; at = xmp.find(kKey, at + 1)) {
    std::string_view rest = xmp.substr(at + kKey.size());
    if (rest.starts_with("=\"")) {
      rest.remove_prefix(2);
    } else if (rest.starts_with(">")) {
      rest.remove_prefix(1);
    } else {
      continue;
    }
    if (!rest.empty() && rest.front() >= '0' && rest.front() <= '9') return rest.front() - '0';
  }
  return 0;
}

int orientation_of(std::span<const std::byte> exif, std::string_view xmp) {
  if (const int orientation = exif_orientation(exif); orientation != 0) return orientation;
  if (const int orientation = xmp_orientation(xmp); orientation != 0) return orientation;
  return 1;
}

}  // namespace mflux
