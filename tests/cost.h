// SPDX-License-Identifier: MIT
// How much memory a call needs at its peak, and how long it takes.
#pragma once

#include <cstdint>
#include <ctime>
#include <fstream>
#include <optional>
#include <string>

namespace mflux::testing {

inline uint64_t status_bytes(const std::string& key) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(key)) return std::stoull(line.substr(key.size())) * 1024;
  }
  return 0;
}

// Bytes on top of those in use before. None: the system does not tell (it is not Linux), or the
// address sanitizer keeps what is freed.
template <typename Call>
std::optional<uint64_t> peak_bytes_of(Call call) {
#if defined(__SANITIZE_ADDRESS__)
  call();
  return std::nullopt;
#else
  std::ofstream reset("/proc/self/clear_refs");
  reset << 5 << std::flush;  // forget the peak so far
  if (!reset) return std::nullopt;
  const uint64_t before = status_bytes("VmRSS:");
  call();
  const uint64_t peak = status_bytes("VmHWM:");
  return peak < before ? 0 : peak - before;
#endif
}

// Seconds of processors: others on the machine do not count.
template <typename Call>
double seconds_of(Call call) {
  const std::clock_t begin = std::clock();
  call();
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

}  // namespace mflux::testing
