// SPDX-License-Identifier: MIT
// libFuzzer's own changes, and now and then a piece many times over.
#include <cstring>
#include <string>

#include "fuzz/mutate.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(
    uint8_t* data, size_t size, size_t max_size, unsigned int seed) {
  mflux::fuzz::Random random(seed);
  if (random.below(20) != 0) return LLVMFuzzerMutate(data, size, max_size);
  std::string input(reinterpret_cast<const char*>(data), size);
  mflux::fuzz::repeat_piece(input, random, max_size);
  std::memcpy(data, input.data(), input.size());
  return input.size();
}
