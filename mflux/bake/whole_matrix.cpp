// SPDX-License-Identifier: MIT
// Tensors hang together if one such update covers both (the parts of a fused qkv): they are found
// by union, so that a group is merged at once. For a group all rows are read into float32, in
// blocks of 512 KiB, and every update of its tensors is applied in the order of the LoRAs, those
// that work row by row too, since each sees what the others left. Each LoRA gets a second buffer of
// the same size for what it changed, which the receipt measures; that is the price, and
// find_whole_groups() tells it in advance.
#include "mflux/bake/whole_matrix.h"

#include <algorithm>
#include <numeric>
#include <set>

#include <tbb/info.h>
#include <tbb/parallel_for.h>

#include "mflux/bake/merge.h"
#include "mflux/base/error.h"
#include "mflux/base/tensor.h"
#include "mflux/checkpoint/rows.h"
#include "mflux/lora/algorithms/update.h"

namespace mflux {
namespace {

constexpr uint64_t kBlockBytes = 512 << 10;  // of rows merged at a time

void run_parallel(uint64_t count, const std::function<void(uint64_t)>& body) {
  tbb::parallel_for(uint64_t{0}, count, [&](uint64_t i) { body(i); });
}

std::string tensor_name(const lora::TargetRows& rows) {
  return full_name(rows.component, rows.tensor);
}

// Which tensors hang together: the parts of a fused matrix do.
class Groups {
 public:
  explicit Groups(const ContributionsByName& contributions) {
    for (const auto& [name, list] : contributions) {
      for (const lora::Contribution& item : list) {
        if (lora::needs_whole_matrix(*item.update)) join(*item.update);
      }
    }
  }

  std::map<std::string, std::vector<std::string>> sets() {
    std::map<std::string, std::vector<std::string>> result;
    for (const auto& [name, parent] : parents_) result[root(name)].push_back(name);
    return result;
  }

 private:
  void join(const lora::Update& update) {
    const auto& rows = update.target.rows;
    const std::string first = root(tensor_name(rows.front()));
    for (const lora::TargetRows& part : rows) parents_[root(tensor_name(part))] = first;
  }

  std::string root(const std::string& name) {
    std::string now = parents_.try_emplace(name, name).first->second;
    while (parents_.at(now) != now) now = parents_.at(now);
    return now;
  }

  std::map<std::string, std::string> parents_ = {};
};

// Where the rows of a canonical tensor lie in the source.
struct SourceRows {
  const models::Piece* piece = nullptr;
  size_t component = 0;
};

std::vector<SourceRows> source_rows(
    const Checkpoint& model, const Plan& plan, const std::string& name) {
  std::vector<SourceRows> result;
  const size_t slash = name.find('/');
  const std::string component = name.substr(0, slash);
  const std::string canonical = name.substr(slash + 1);
  for (const PlannedTensor& tensor : plan.tensors) {
    if (model.components[tensor.component].name != component) continue;
    for (const models::Piece& piece : tensor.mapped.pieces) {
      if (piece.canonical == canonical) result.push_back({&piece, tensor.component});
    }
  }
  return result;
}

// Updates of a group in the order of LoRAs, then of their files.
std::vector<const lora::Contribution*> ordered_updates(const Plan& plan, const WholeGroup& group) {
  std::vector<const lora::Contribution*> items;
  for (const std::string& name : group.tensors) {
    for (const lora::Contribution& item : plan.contributions->at(name)) {
      const bool is_known = std::ranges::any_of(
          items, [&](const lora::Contribution* other) { return other->update == item.update; });
      if (!is_known) items.push_back(&item);
    }
  }
  // The updates of one LoRA lie in one vector, in the order of the file.
  std::ranges::sort(items, [](const lora::Contribution* a, const lora::Contribution* b) {
    return a->adapter != b->adapter ? a->adapter < b->adapter
                                    : std::less<const lora::Update*>()(a->update, b->update);
  });
  return items;
}

class WholeMerge {
 public:
  WholeMerge(const Checkpoint& model, const Plan& plan, const WholeGroup& group)
      : model_(model), plan_(plan), group_(group) {}

  WholeTensors run() {
    for (const std::string& name : group_.tensors) read(name);
    for (const lora::Contribution* item : ordered_updates(plan_, group_)) {
      if (lora::needs_whole_matrix(*item->update)) {
        apply_whole(*item);
      } else {
        apply_rows(*item->update, item->adapter);
      }
    }
    return std::move(tensors_);
  }

 private:
  void read(const std::string& name) {
    const std::vector<SourceRows> rows = source_rows(model_, plan_, name);
    if (rows.empty()) fail("{}: a LoRA needs it, but the output does not hold it", name);
    const Component& component = model_.components[rows.front().component];
    uint64_t count = 0;
    for (const SourceRows& part : rows) {
      count = std::max(count, part.piece->canonical_begin + part.piece->count);
    }
    const uint64_t columns = component.tensors[rows.front().piece->source].spec.row_elements();
    WholeTensor& tensor = tensors_.emplace(name, WholeTensor(count, columns)).first->second;
    for (const SourceRows& part : rows) {
      const uint64_t step =
          std::max<uint64_t>(1, kBlockBytes / std::max<uint64_t>(1, columns * sizeof(float)));
      for (uint64_t row = 0; row < part.piece->count; row += step) {
        const uint64_t some = std::min(step, part.piece->count - row);
        read_source_rows(
            component,
            component.tensors[part.piece->source],
            part.piece->source_begin + row,
            some,
            {tensor.weight_row(part.piece->canonical_begin + row), some * columns});
      }
    }
  }

  void apply_whole(const lora::Contribution& item) {
    std::vector<float*> weight;
    std::vector<float*> change;
    const lora::Target& target = item.update->target;
    for (const lora::TargetRows& rows : target.rows) {
      WholeTensor& tensor = tensors_.at(tensor_name(rows));
      for (uint64_t row = 0; row < rows.count; ++row) {
        weight.push_back(tensor.weight_row(rows.begin + row));
        change.push_back(tensor.change_row(item.adapter, rows.begin + row));
      }
    }
    lora::apply_to_matrix(*item.update, {weight, change, target.inputs}, run_parallel);
  }

  // Those of its rows that lie in the group.
  void apply_rows(const lora::Update& update, size_t adapter) {
    const lora::Target& target = update.target;
    const lora::Prepared prepared = lora::prepare(update, target.inputs);
    uint64_t first = 0;
    for (const lora::TargetRows& rows : target.rows) {
      const auto found = tensors_.find(tensor_name(rows));
      if (found != tensors_.end()) {
        apply_to_tensor(update, prepared, first, rows, adapter, found->second);
      }
      first += rows.count;
    }
  }

  static void apply_to_tensor(
      const lora::Update& update,
      const lora::Prepared& prepared,
      uint64_t first,
      const lora::TargetRows& rows,
      size_t adapter,
      WholeTensor& tensor) {
    const uint64_t columns = tensor.columns();
    const uint64_t step =
        std::max<uint64_t>(1, kBlockBytes / std::max<uint64_t>(1, columns * sizeof(float)));
    tensor.change_row(adapter, 0);  // there before threads ask for it
    run_parallel((rows.count + step - 1) / step, [&](uint64_t block) {
      const uint64_t begin = block * step;
      const uint64_t count = std::min(step, rows.count - begin);
      thread_local lora::RowScratch scratch;
      std::vector<float> change(count * columns);
      lora::apply_to_rows(
          update,
          prepared,
          {first + begin, count, columns},
          {tensor.weight_row(rows.begin + begin), count * columns},
          change,
          scratch);
      float* sum = tensor.change_row(adapter, rows.begin + begin);
      for (size_t i = 0; i < change.size(); ++i) sum[i] += change[i];
    });
  }

  const Checkpoint& model_;
  const Plan& plan_;
  const WholeGroup& group_;
  WholeTensors tensors_ = {};
};

}  // namespace

std::vector<WholeGroup> find_whole_groups(const Checkpoint& model, const Plan& plan) {
  const auto threads = static_cast<uint64_t>(tbb::info::default_concurrency());
  std::vector<WholeGroup> groups;
  for (auto& [root, names] : Groups(*plan.contributions).sets()) {
    WholeGroup group{.tensors = names};
    uint64_t elements = 0;
    uint64_t scratch = 0;
    std::set<size_t> adapters;
    std::set<std::pair<size_t, size_t>> sources;
    for (const std::string& name : names) {
      for (const SourceRows& part : source_rows(model, plan, name)) {
        const auto& source = model.components[part.component].tensors[part.piece->source];
        elements += part.piece->count * source.spec.row_elements();
        sources.emplace(part.component, part.piece->source);
      }
      for (const lora::Contribution& item : plan.contributions->at(name)) {
        adapters.insert(item.adapter);
        if (!lora::needs_whole_matrix(*item.update)) continue;
        scratch = std::max(scratch, lora::matrix_scratch_bytes(*item.update, threads));
        if (group.reason.empty()) group.reason = lora::algorithm_of(*item.update);
      }
    }
    if (sources.empty()) continue;  // of a component that is not written
    group.first_source = *sources.begin();
    group.last_source = *sources.rbegin();
    group.bytes = elements * sizeof(float) * (1 + adapters.size()) + scratch;
    groups.push_back(std::move(group));
  }
  std::ranges::sort(groups, {}, &WholeGroup::first_source);
  return groups;
}

WholeTensors merge_whole(const Checkpoint& model, const Plan& plan, const WholeGroup& group) {
  return WholeMerge(model, plan, group).run();
}

}  // namespace mflux
