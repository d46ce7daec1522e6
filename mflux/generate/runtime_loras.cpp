// SPDX-License-Identifier: MIT
// A plan as if the model were to be saved with the LoRAs tells which tensors they change. Where all
// changes of a tensor are low-rank pairs and its layer is a matrix, they run beside it; all others
// go through the pass of a save, into memory instead of a folder, so they are what a save would
// have written.
#include "mflux/generate/runtime_loras.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "mflux/bake/pass.h"
#include "mflux/bake/plan.h"
#include "mflux/bake/prepare.h"
#include "mflux/base/error.h"
#include "mflux/lora/algorithms/low_rank.h"

namespace mflux {
namespace {

bool runs_beside(const PlannedTensor& tensor) {
  if (tensor.mapped.role == models::Role::other) return false;
  return std::ranges::all_of(tensor.deltas, [](const auto* updates) {
    return updates == nullptr || std::ranges::all_of(*updates, [](const lora::Contribution& item) {
             return lora::is_low_rank(*item.update);
           });
  });
}

// Keeps the parts of baked tensors.
class MemorySink : public Sink {
 public:
  void expect(const PlannedPart& part) { parts_[&part].resize(part.spec.bytes()); }

  void write(const PlannedPart& part, uint64_t offset, std::span<const std::byte> data) override {
    const auto begin = static_cast<std::ptrdiff_t>(offset - part.offset);
    std::ranges::copy(data, parts_.at(&part).begin() + begin);
  }

  nn::BakedPart take(const PlannedPart& part) { return {part.spec, std::move(parts_.at(&part))}; }

 private:
  std::map<const PlannedPart*, std::vector<std::byte>> parts_ = {};
};

bool baked_in_memory(const PlannedTensor& tensor) {
  return tensor.baked() && !runs_beside(tensor);
}

}  // namespace

RuntimeLoras load_runtime_loras(const Checkpoint& model, const GenerateOptions& options) {
  RuntimeLoras loras;
  if (options.loras.empty()) return loras;
  const SaveOptions save{
      .model = options.model, .bits = options.bits, .mode = options.mode, .loras = options.loras};
  loras.loaded = load_loras(model, save);
  loras.plan = make_plan(model, loras.loaded, save);
  loras.changes.beside = *loras.plan->contributions;
  return loras;
}

void bake_in_memory(const Checkpoint& model, RuntimeLoras& loras, const std::atomic<bool>* stop) {
  if (!loras.plan || std::ranges::none_of(loras.plan->tensors, baked_in_memory)) return;
  MemorySink sink;
  for (const PlannedTensor& tensor : loras.plan->tensors) {
    if (!baked_in_memory(tensor)) continue;
    sink.expect(tensor.weight);
    if (tensor.scales) sink.expect(*tensor.scales);
    if (tensor.biases) sink.expect(*tensor.biases);
  }
  run_pass(model, *loras.plan, {.stop = stop, .only = baked_in_memory, .hash_inputs = false}, sink);
  for (const PlannedTensor& tensor : loras.plan->tensors) {
    if (!baked_in_memory(tensor)) continue;
    nn::BakedTensor baked{.format = tensor.format, .weight = sink.take(tensor.weight)};
    if (tensor.scales) baked.scales = sink.take(*tensor.scales);
    if (tensor.biases) baked.biases = sink.take(*tensor.biases);
    loras.changes.baked.emplace(loras.plan->name_of(tensor), std::move(baked));
  }
}

}  // namespace mflux
