// SPDX-License-Identifier: MIT
// Makes a picture: generate MODEL PROMPT OUTPUT.png. docs/generating.md quotes it.
#include "mflux/generate.h"

#include <cstdio>

#include "mflux/base/error.h"
#include "mflux/image/png.h"

int main(int argc, char** argv) try {
  if (argc != 4) return 2;
  const mflux::Generated result = mflux::generate({
      .model = argv[1],
      .prompt = argv[2],
      .seeds = {42},
      .steps = 20,
  });
  mflux::write_png(argv[3], result.pictures.front().picture, {{"prompt", argv[2]}});
  return 0;
} catch (const mflux::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
