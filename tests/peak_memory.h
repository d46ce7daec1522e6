// SPDX-License-Identifier: MIT
// How much memory a call needs at its peak.
#pragma once

#include <cstdint>
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

// Bytes on top of those in use before. None: the system does not tell (it is not Linux).
template <typename Call>
std::optional<uint64_t> peak_bytes_of(Call call) {
  std::ofstream reset("/proc/self/clear_refs");
  reset << 5 << std::flush;  // forget the peak so far
  if (!reset) return std::nullopt;
  const uint64_t before = status_bytes("VmRSS:");
  call();
  const uint64_t peak = status_bytes("VmHWM:");
  return peak < before ? 0 : peak - before;
}

}  // namespace mflux::testing
