// SPDX-License-Identifier: MIT
// Block numbers in the names of layers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mflux {

// "a.blocks.3.b" -> "a.blocks.{}.b" and 3; a name without a block number stays.
struct BlockName {
  std::string pattern = {};
  std::optional<uint64_t> block = {};
};
BlockName block_name(std::string_view name);

}  // namespace mflux
