// SPDX-License-Identifier: MIT
// A target that does all that none may do, so that the driver's own tests see whether it notices.
#include <stdexcept>

#include "fuzz/input.h"

namespace mflux::fuzz {
namespace {

// So deep that the stack ends.
uint64_t sink(uint64_t depth) {
  volatile uint64_t below = depth;
  return depth == 0 ? below : sink(depth - 1) + below;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input = text_of(data, size);
  if (input == "overflow") return static_cast<int>(sink(uint64_t{1} << 40) & 1);
  if (input == "throw") refusable([] { throw std::runtime_error("no Error"); });
  if (input == "refuse") refusable([] { fail("refused"); });
  for (volatile bool endless = input == "hang"; endless;) continue;
  return 0;
}

}  // namespace mflux::fuzz
