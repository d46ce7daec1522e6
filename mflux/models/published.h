// SPDX-License-Identifier: MIT
// The sizes of the published models. A checkpoint tells its own; these stand in where there is only
// a LoRA file, whose layers should be named and cut all the same.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/models/family.h"

namespace mflux::models {

// Of one component.
struct Sizes {
  std::map<char, uint64_t> widths = {};         // by the letters of the tables
  std::map<std::string, uint64_t> depths = {};  // "transformer_blocks.{}" -> how many
};

// The components whose published sizes are known: the transformer and the text encoders.
std::vector<std::string> published_components(const Family& family);
Sizes published_sizes(const Family& family, std::string_view component);

// A matrix over canonical layers ("transformer_blocks.0.attn.to_q"), one below the other; or a
// vector, which has no inputs.
struct SeenMatrix {
  std::vector<std::string> layers = {};
  uint64_t outputs = 0;
  uint64_t inputs = 0;
};

// The sizes with the widths that the matrices show; the first that shows one counts. Widths that
// none shows keep the published proportion to the hidden width (h, d or the like) if that is
// shown, so that a narrow model's feed-forward is narrow too.
Sizes fit_sizes(
    const Family& family,
    std::string_view component,
    std::span<const SeenMatrix> matrices,
    Sizes sizes);

// Headers of a component with these sizes, in diffusers' naming.
SourceComponent sized_component(
    const Family& family, std::string_view component, const Sizes& sizes);

}  // namespace mflux::models
