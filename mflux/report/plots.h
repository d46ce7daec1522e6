// SPDX-License-Identifier: MIT
// The plots of the page, as inline SVG whose colours are classes of the page's style.
#pragma once

#include <string>

#include "mflux/report/facts.h"

namespace mflux::report {

// Of the class that colours a LoRA's dots: "s0", "s1", ...
size_t series(size_t lora);

// One dot per baked tensor and LoRA: the share that survived.
std::string kept_plot(const ReportFacts& facts);

// One dot per baked tensor: the error of what is stored.
std::string error_plot(const ReportFacts& facts);

// How every tensor of a component is stored: a grid for each kind of block, a row for each block.
std::string bits_maps(const ReportFacts& facts, const std::string& component);

// The colour of a stored form: "q8", "q4", "bf16", ...
std::string storage_class(const std::string& stored);

}  // namespace mflux::report
