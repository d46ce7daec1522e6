// SPDX-License-Identifier: MIT
// A row of the table of algorithms: how one is recognised among a module's tensors, and made of
// them. The table is in algorithms.cpp; each row is in the file of its algorithm.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "mflux/lora/algorithms/builder.h"
#include "mflux/lora/module.h"

namespace mflux::lora {

// A set, a bit each.
using Parameters = uint64_t;

constexpr Parameters set_of(std::initializer_list<Parameter> list) {
  Parameters set = 0;
  for (const Parameter parameter : list) set |= Parameters{1} << static_cast<uint8_t>(parameter);
  return set;
}

constexpr bool contains(Parameters set, Parameter parameter) {
  return (set & set_of({parameter})) != 0;
}

// Of the matrix that a module adds.
struct ChangeSize {
  uint64_t outputs = 0;
  uint64_t inputs = 0;
};

struct Algorithm {
  // For people: "LoHa".
  std::string_view title = {};
  // The same with a magnitude on top, where it may have one.
  std::string_view dora_title = "DoRA";
  // An algorithm is recognised by any of its own parameters,
  Parameters own = 0;
  // and may stand next to these. A difference and new values may always be there.
  Parameters others = 0;
  // If one of these is all zero, so is the change.
  Parameters factors = 0;
  // An alpha scales what it adds.
  bool takes_alpha = false;
  // What else it needs, for people; "" if its parameters are complete.
  std::string_view (*missing)(const Module& module) = nullptr;
  // Adds updates to the builder, or refuses.
  void (*build)(Builder& builder) = nullptr;
  // Its title by what is there, if it has several.
  std::string_view (*title_of)(const Module& module) = nullptr;
  // What the shapes alone tell.
  std::optional<ChangeSize> (*size_of)(const Module& module) = nullptr;
};

extern const Algorithm kHadamard;
extern const Algorithm kKronecker;
extern const Algorithm kInputRotation;
extern const Algorithm kOutputRotation;
extern const Algorithm kGlora;
extern const Algorithm kIa3;
extern const Algorithm kLowRank;
extern const Algorithm kFullMatrix;
extern const Algorithm kDense;

}  // namespace mflux::lora
