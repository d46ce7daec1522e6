// SPDX-License-Identifier: MIT
// What a save will write: names, sources, formats, offsets, sizes. plan.h makes it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mflux/lora/contributions.h"
#include "mflux/models/family.h"
#include "mflux/options.h"
#include "mflux/safetensors/header.h"

namespace mflux {

// One tensor of an output file. `offset` counts from the start of the file.
struct PlannedPart {
  std::string name = {};
  TensorSpec spec = {};
  size_t shard = 0;  // index into Plan::shards
  uint64_t offset = 0;
  uint64_t row_bytes = 0;  // bytes of one row of the matrix it belongs to
};

// One tensor of the model and the one to three parts it is stored in.
struct PlannedTensor {
  size_t component = 0;  // index into Checkpoint::components
  models::MappedTensor mapped = {};
  std::optional<QuantFormat> format = {};  // how it is packed; none: stored as mapped.dtype
  bool copied = false;                     // the stored bytes are copied unchanged
  std::optional<int> raised_from = {};     // bits it would have had without --escalate
  bool keeps_delta = false;                // rounded so that the LoRAs survive
  // Per piece of `mapped`: what LoRAs add to its canonical tensor; null if nothing.
  std::vector<const std::vector<lora::Contribution>*> deltas = {};
  PlannedPart weight = {};
  std::optional<PlannedPart> scales = {};
  std::optional<PlannedPart> biases = {};

  bool baked() const;
  bool computed() const { return !mapped.values.empty(); }  // has no source
  uint64_t columns() const { return TensorSpec{mapped.dtype, mapped.shape}.row_elements(); }
  uint64_t bytes() const;  // of all parts
};

struct PlannedShard {
  size_t component = 0;
  std::string file = {};                              // relative to the output folder
  std::vector<safetensors::TensorInfo> tensors = {};  // as they will lie in the file
  std::string header = {};                            // the bytes before the data
  uint64_t bytes = 0;                                 // of the whole file
};

struct PlannedComponent {
  std::string name = {};
  std::string index_file = {};  // relative to the output folder; "" for a layout without index
  safetensors::Metadata metadata = {};
  uint64_t tensor_bytes = 0;
  size_t tensors = 0;  // stored ones
  size_t first_shard = 0;
  size_t shards = 0;
};

// Canonical tensors that are merged as a whole and together (whole_matrix.h), from the first of
// their source tensors in the pass to the last.
struct WholeGroup {
  std::vector<std::string> tensors = {};        // keys of *Plan::contributions
  std::string reason = {};                      // the algorithm that needs it
  std::pair<size_t, size_t> first_source = {};  // component, index into Component::tensors
  std::pair<size_t, size_t> last_source = {};
  uint64_t bytes = 0;  // of all buffers
};

using ContributionsByName = std::map<std::string, std::vector<lora::Contribution>>;

struct Plan {
  SaveOptions options = {};
  std::optional<QuantFormat> format = {};         // asked for
  std::vector<PlannedComponent> components = {};  // parallel to Checkpoint::components
  std::vector<PlannedTensor> tensors = {};        // in the order they are read
  std::vector<PlannedShard> shards = {};
  std::vector<std::string> copied = {};  // files copied as they are; relative paths
  // What the LoRAs add to each tensor, in LoRA order. Points into the Loaded that the plan was made
  // from, and PlannedTensor::deltas into it: copies of a plan share it.
  std::shared_ptr<const ContributionsByName> contributions =
      std::make_shared<const ContributionsByName>();
  std::vector<WholeGroup> whole_groups = {};  // by their first source
  std::vector<std::string> notes = {};        // what the user should know

  uint64_t bytes() const;                                  // of all shards
  std::string name_of(const PlannedTensor& tensor) const;  // full_name() of the stored tensor
};

// Bits of single tensors that differ from the plan's rule, by Plan::name_of().
using BitsByTensor = std::map<std::string, int>;

}  // namespace mflux
