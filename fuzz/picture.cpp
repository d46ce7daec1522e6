// SPDX-License-Identifier: MIT
// Pictures of all formats, and what tells which way up they are.
#include "fuzz/input.h"
#include "mflux/image/orientation.h"
#include "mflux/image/png.h"

using namespace mflux;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  for (const Transparency how : {Transparency::on_white, Transparency::dropped}) {
    fuzz::refusable([&] {
      const Picture picture = decode_picture(bytes, "x", how);
      const auto pixels = static_cast<size_t>(picture.height) * static_cast<size_t>(picture.width);
      fuzz::require(picture.rgb.size() == 3 * pixels && pixels > 0, "three values a pixel");
    });
  }
  fuzz::refusable([&] { decode_png_text(bytes, "x"); });
  fuzz::refusable([&] { exif_orientation(bytes); });
  fuzz::refusable([&] { xmp_orientation(fuzz::text_of(data, size)); });
  return 0;
}
