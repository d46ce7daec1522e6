// SPDX-License-Identifier: MIT
// A job's TOML file, and sizes as they are written there.
#include "cli/job_file.h"
#include "cli/sizes.h"
#include "fuzz/input.h"

using namespace mflux;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::Folder folder;
  const std::string text(fuzz::text_of(data, size));
  const fuzz::Laid laid(folder, {{"x.toml", text}});
  fuzz::refusable([] { cli::read_job_file(folder.path() / "x.toml"); });
  fuzz::refusable([&] { cli::parse_size(text); });
  return 0;
}
