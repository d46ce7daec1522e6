// SPDX-License-Identifier: MIT
#include "mflux/lora/contributions.h"

#include <fmt/format.h>

#include "mflux/base/tensor.h"

namespace mflux::lora {

std::map<std::string, std::vector<Contribution>> contributions(const Loaded& loaded) {
  std::map<std::string, std::vector<Contribution>> result;
  for (size_t adapter = 0; adapter < loaded.adapters.size(); ++adapter) {
    for (const Update& update : loaded.adapters[adapter].updates) {
      uint64_t begin = 0;
      for (const TargetRows& rows : update.target.rows) {
        result[full_name(rows.component, rows.tensor)].push_back(
            {&update, rows.begin, rows.count, begin, adapter});
        begin += rows.count;
      }
    }
  }
  return result;
}

}  // namespace mflux::lora
