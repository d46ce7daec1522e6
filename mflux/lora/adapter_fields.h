// SPDX-License-Identifier: MIT
// The JSON of a LoRA's configuration, as far as it counts: what is skipped takes no memory.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace mflux::lora {

// Shared, because the type is not complete here. A list or an object is an empty one.
using AdapterValue = std::shared_ptr<const nlohmann::json>;

struct AdapterField {
  AdapterValue value = {};
  std::vector<std::pair<std::string, AdapterValue>> members = {};  // of an object, in its order
};

// By key; those at the top that `counts` is true of. Of a key that is there twice the last value
// counts, in an object at the first one's place. `error`: what is wrong with the text; "" if
// nothing is.
std::map<std::string, AdapterField> read_adapter_fields(
    std::string_view text, const std::function<bool(std::string_view)>& counts, std::string& error);

}  // namespace mflux::lora
