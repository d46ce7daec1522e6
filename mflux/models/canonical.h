// SPDX-License-Identifier: MIT
// A component's headers, whatever their naming, as canonical tensors: the half of the mapping that
// reads.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "mflux/base/tensor.h"
#include "mflux/models/component.h"
#include "mflux/models/names.h"
#include "mflux/models/spelling.h"
#include "mflux/models/tables.h"

namespace mflux::models {

// Rows of a source tensor that are rows of a canonical one. In a vector each element is a row.
struct SourceRows {
  size_t source = 0;
  uint64_t source_begin = 0;
  uint64_t count = 0;
  uint64_t begin = 0;  // in the canonical tensor
};

struct CanonicalTensor {
  size_t layer = 0;  // number in CanonicalComponent::layers
  Indices at;
  bool bias = false;
  TensorSpec spec;               // canonical shape; the source's dtype (BF16 for packed fp modes)
  bool channels_last = false;    // the order inside the source's rows
  std::vector<SourceRows> rows;  // ascending `begin`, without gaps
  std::string name;              // the tensor whose values these are: its own but for twins
};

struct CanonicalComponent {
  const Component* table = nullptr;
  std::vector<FullLayer> layers;
  std::map<std::string, CanonicalTensor> tensors;
  std::map<const Block*, std::set<Indices>> instances;  // which blocks there are
  Stages stages;                                        // of the flat list, if there is one
  std::set<size_t> left_out;                            // source tensors with no canonical form
};

// Throws one Error that lists every tensor that is unknown, missing, double or misshapen.
CanonicalComponent read_component(
    const Family& family, const SourceComponent& source, Naming naming);

// The same without the checks: what fits by name and rank.
CanonicalComponent read_loosely(const Family& family, const SourceComponent& source, Naming naming);

// How many of the tensors have a name that this naming knows.
size_t known_names(const Component& component, const SourceComponent& source, Naming naming);

// What is wrong with a component, in the words for the user.
struct Problems {
  std::set<std::string> missing;
  std::vector<std::string> unknown;
  std::vector<std::string> wrong;
  std::vector<std::string> config;  // values of config.json
};

// Of every block that is there all layers are there, and blocks are numbered without gaps.
void check_presence(
    CanonicalComponent& component, const std::vector<Spelling>& spellings, Problems& problems);

// The shapes agree with the tables and with each other; a width that most tensors have is the right
// one.
void check_shapes(
    const CanonicalComponent& component, const SourceComponent& source, Problems& problems);

// What config.json says is well-formed and true of the tensors. What it leaves out is not checked.
void check_config(
    const CanonicalComponent& component, const SourceComponent& source, Problems& problems);

// The tensor's rows; in a vector each element is one.
inline uint64_t row_count(const Shape& shape) {
  return shape.empty() ? 1 : shape.front();
}

}  // namespace mflux::models
