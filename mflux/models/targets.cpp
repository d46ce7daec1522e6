// SPDX-License-Identifier: MIT
// The names under which a LoRA may address a component's layers.
#include <algorithm>
#include <map>

#include "mflux/models/canonical.h"
#include "mflux/models/family.h"
#include "mflux/models/spelling.h"

namespace mflux::models {
namespace {

class Targets {
 public:
  explicit Targets(const CanonicalComponent& component) : component_(component) {
    for (const auto& [name, tensor] : component.tensors) {
      const bool constant = component.layers[tensor.layer].layer->kind == Kind::constant;
      const bool twin = tensor.name != name;
      if (!tensor.bias && !constant && !twin) weights_[{tensor.layer, tensor.at}] = &tensor;
    }
  }

  std::vector<lora::Target> list() {
    const Component& table = *component_.table;
    for (const Spelling& spelling : spellings(table, component_.layers, Naming::diffusers)) {
      add_all(spelling, lora::AliasOf::diffusers);
    }
    for (const Spelling& spelling : spellings(table, component_.layers, Naming::mflux)) {
      add_all(spelling, lora::AliasOf::mflux);
    }
    for (const Spelling& spelling : spellings(table, component_.layers, Naming::original)) {
      add_all(spelling, lora::AliasOf::original);
    }
    for (const Composite& composite : table.aliases) {
      add_all(spell(composite, component_.layers), lora::AliasOf::others);
    }
    for (const Twin& twin : table.twins) add_twin(twin);
    std::vector<lora::Target> result;
    for (auto& [alias, target] : targets_) result.push_back(std::move(target));
    return result;
  }

 private:
  void add_all(const Spelling& spelling, lora::AliasOf alias_of) {
    for (const auto& [key, first] : weights_) {
      if (key.first != spelling.parts.front()) continue;
      for (const Indices& at : places(spelling, key.second)) {
        add(spelling, key.second, fill(spelling.module, at), alias_of);
      }
    }
  }

  std::vector<Indices> places(const Spelling& spelling, const Indices& at) const {
    if (!spelling.copies) return {spelled_at(spelling, component_.stages, at)};
    const Block& own = *component_.layers[spelling.parts.front()].block;
    for (const auto& [block, found] : component_.instances) {
      if (block->name == own.copied_into) return {found.begin(), found.end()};
    }
    return {at};
  }

  void add(
      const Spelling& spelling,
      const Indices& at,
      const std::string& alias,
      lora::AliasOf alias_of) {
    std::vector<const CanonicalTensor*> parts;
    std::vector<uint64_t> counts;
    for (const size_t part : spelling.parts) {
      const auto found = weights_.find({part, at});
      if (found == weights_.end()) return;
      parts.push_back(found->second);
      counts.push_back(found->second->spec.rows());
    }
    lora::Target target;
    target.alias = alias;
    target.component = component_.table->name;
    target.alias_of = alias_of;
    const size_t number = spelling.module.find(".{}");
    if (number != std::string::npos && !spelling.copies) {
      target.blocks = spelling.module.substr(0, number);
      target.block = at.at[0];
    }
    target.inputs = parts.front()->spec.row_elements();
    for (const PartRows& rows : part_rows(spelling.rows, counts)) {
      target.rows.push_back(
          {.component = target.component,
           .tensor = parts[rows.part]->name,
           .begin = rows.begin,
           .count = rows.count});
      target.outputs += rows.count;
    }
    if (alias_of == lora::AliasOf::diffusers) add_respelled(target);
    targets_.try_emplace(alias, std::move(target));
  }

  void add_respelled(const lora::Target& target) {
    for (const Respelling& respelling : component_.table->respellings) {
      // an empty one is a prefix in front of everything: the dialects' business
      if (respelling.canonical.empty() || !target.alias.starts_with(respelling.canonical)) continue;
      lora::Target other = target;
      other.alias.replace(0, respelling.canonical.size(), respelling.other);
      other.alias_of = lora::AliasOf::others;
      if (other.blocks.starts_with(respelling.canonical)) {
        other.blocks.replace(0, respelling.canonical.size(), respelling.other);
      }
      targets_.try_emplace(other.alias, std::move(other));
    }
  }

  void add_twin(const Twin& twin) {
    const auto original = targets_.find(twin.original);
    if (original == targets_.end()) return;
    lora::Target target = original->second;
    target.alias = twin.name;
    target.alias_of = lora::AliasOf::others;
    targets_.try_emplace(target.alias, std::move(target));
  }

  const CanonicalComponent& component_;
  std::map<std::pair<size_t, Indices>, const CanonicalTensor*> weights_;
  std::map<std::string, lora::Target, std::less<>> targets_;
};

}  // namespace

std::vector<lora::Target> lora_targets(
    const Family& family, const SourceComponent& source, Naming naming) {
  const CanonicalComponent component = read_component(family, source, naming);
  return Targets(component).list();
}

}  // namespace mflux::models
