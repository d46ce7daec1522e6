// SPDX-License-Identifier: MIT
// What the networks of every family read of config.json alike.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "mflux/models/config.h"
#include "mflux/nn/weights.h"

namespace mflux::pipelines {

// The component's config.json, which may not be there.
models::Config config_of(const nn::Weights& weights);

// Throws Error for a list of another length.
std::optional<std::array<int, 3>> three_wholes(const models::Config& config, std::string_view key);

// How many channels of a head turn with each axis: axes_dims_rope, or, without it, in the published
// models' proportion of 16 : 56 : 56. Throws Error unless all are even and add up to the head.
std::array<int, 3> rope_axes(const models::Config& config, int head_width);

}  // namespace mflux::pipelines
