// SPDX-License-Identifier: MIT
// Which way up a picture is shown. Cameras store what the sensor saw and note how they were held.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace mflux {

// The tag of an EXIF block (TIFF's layout, "Exif\0\0" before it or not); 0: none.
int exif_orientation(std::span<const std::byte> exif);
int xmp_orientation(std::string_view xmp);  // tiff:Orientation; 0: none

// What counts, as in Pillow: EXIF's if it has one, else XMP's, else 1.
int orientation_of(std::span<const std::byte> exif, std::string_view xmp);

}  // namespace mflux
