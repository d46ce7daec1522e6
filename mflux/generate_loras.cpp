// SPDX-License-Identifier: MIT
#include "mflux/generate_loras.h"

#include <algorithm>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "mflux/base/error.h"
#include "mflux/plan.h"
#include "mflux/stream.h"

namespace mflux {
namespace {

bool runs_beside(const PlannedTensor& tensor) {
  if (tensor.mapped.role == models::Role::other) return false;
  return std::ranges::all_of(tensor.deltas, [](const auto* updates) {
    return updates == nullptr || std::ranges::all_of(*updates, [](const lora::Contribution& item) {
             return std::holds_alternative<lora::LowRank>(*item.update);
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

void bake_in_memory(const Checkpoint& model, const Plan& plan, RuntimeLoras& loras) {
  MemorySink sink;
  const auto each_part = [](const PlannedTensor& tensor, const auto& use) {
    use(tensor.weight);
    if (tensor.scales) use(*tensor.scales);
    if (tensor.biases) use(*tensor.biases);
  };
  const auto wanted = [](const PlannedTensor& tensor) {
    return tensor.baked() && !runs_beside(tensor);
  };
  for (const PlannedTensor& tensor : plan.tensors) {
    if (wanted(tensor)) each_part(tensor, [&](const PlannedPart& part) { sink.expect(part); });
  }
  stream(model, plan, {.only = wanted, .hash_inputs = false}, sink);
  for (const PlannedTensor& tensor : plan.tensors) {
    if (!wanted(tensor)) continue;
    const std::string& component = model.components[tensor.component].name;
    nn::BakedTensor baked{.format = tensor.format, .weight = sink.take(tensor.weight)};
    if (tensor.scales) baked.scales = sink.take(*tensor.scales);
    if (tensor.biases) baked.biases = sink.take(*tensor.biases);
    loras.changes.baked.emplace(component + "/" + tensor.mapped.name, std::move(baked));
  }
}

}  // namespace

RuntimeLoras load_runtime_loras(const Checkpoint& model, const GenerateOptions& options) {
  RuntimeLoras loras;
  if (options.loras.empty()) return loras;
  const SaveOptions save{
      .model = options.model, .bits = options.bits, .mode = options.mode, .loras = options.loras};
  loras.loaded = load_loras(model, save);
  const Plan plan = make_plan(model, loras.loaded, save);
  const bool any_baked = std::ranges::any_of(plan.tensors, [](const PlannedTensor& tensor) {
    return tensor.baked() && !runs_beside(tensor);
  });
  if (any_baked) bake_in_memory(model, plan, loras);
  loras.changes.beside = plan.contributions;
  return loras;
}

}  // namespace mflux
