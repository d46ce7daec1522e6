// SPDX-License-Identifier: MIT
// A job's TOML file, and sizes as they are written there.
#include "cli/job_file.h"
#include "cli/sizes.h"
#include "fuzz/input.h"

namespace mflux::fuzz {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Folder folder;
  const std::string text(text_of(data, size));
  const Laid laid(folder, {{"x.toml", text}});
  refusable([] { cli::read_job_file(folder.path() / "x.toml"); });
  refusable([&] { cli::parse_size(text); });
  return 0;
}

}  // namespace mflux::fuzz
