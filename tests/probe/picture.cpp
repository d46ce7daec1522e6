// SPDX-License-Identifier: MIT
// picture_probe on_white|dropped FILE...: for each file a line "WIDTH HEIGHT RRGGBB...", or what is
// wrong with it.
#include "mflux/image/picture.h"

#include <iostream>
#include <string_view>

#include <fmt/format.h>

#include "mflux/base/error.h"

int main(int argc, char** argv) {
  const bool dropped = argc > 1 && std::string_view(argv[1]) == "dropped";
  for (int i = 2; i < argc; ++i) {
    try {
      const mflux::Picture picture = mflux::read_picture(
          argv[i], dropped ? mflux::Transparency::dropped : mflux::Transparency::on_white);
      std::cout << picture.width << ' ' << picture.height << ' ';
      for (const uint8_t value : picture.rgb) std::cout << fmt::format("{:02x}", value);
    } catch (const mflux::Error& error) {
      std::cout << "error: " << error.what();
    }
    std::cout << '\n';
  }
}
