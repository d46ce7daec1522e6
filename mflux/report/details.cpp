// SPDX-License-Identifier: MIT
// A second look at bake.json, after parse_receipt() has checked what verify needs: keys and baked
// tensors, of which there are thousands. Blocks are found in tensor names (models/block_name.h), so
// this works for any family.
#include "mflux/report/details.h"

#include <charconv>

#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/base/json.h"
#include "mflux/models/block_name.h"

namespace mflux::report {
namespace {

using Json = nlohmann::json;

// JSON has null for what is not a number.
std::optional<double> number(const Json& json) {
  return json.is_null() ? std::nullopt : std::optional(json.get<double>());
}

int raised_from(const Json& bits, const std::string& file) {
  if (const auto number = whole_number(bits, 8)) return static_cast<int>(*number);
  fail("{}: not a receipt: raised_from_bits is {}, expected at most 8", file, excerpt(bits));
}

size_t lora_index(const std::string& text, size_t loras, const std::string& file) {
  size_t index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || end != text.data() + text.size() || index >= loras) {
    fail("{}: not a receipt: kept names LoRA '{}', but there are {}", file, text, loras);
  }
  return index;
}

BakedTensor baked_tensor(const Json& json, size_t loras, const std::string& file) {
  BakedTensor tensor{
      .name = json.at("tensor").get<std::string>(),
      .stored = json.at("stored").get<std::string>(),
      .relative_error = number(json.at("relative_error"))};
  const size_t slash = tensor.name.find('/');
  if (slash == tensor.name.npos) {
    fail("{}: not a receipt: tensor '{}' has no component in its name", file, tensor.name);
  }
  tensor.place = place_of(tensor.name.substr(0, slash), tensor.name.substr(slash + 1));
  for (const auto& [index, kept] : json.at("kept").items()) {
    const size_t lora = lora_index(index, loras, file);
    if (const auto share = number(kept)) tensor.kept[lora] = *share;
  }
  if (const auto raised = json.find("raised_from_bits"); raised != json.end() && !raised->is_null())
    tensor.raised_from = raised_from(*raised, file);
  return tensor;
}

BakedLora baked_lora(const Json& json, const LoraRecord& record) {
  BakedLora lora{.record = record, .dialect = json.at("dialect").get<std::string>()};
  for (const Json& key : json.at("keys")) {
    const std::string name = key.at("key").get<std::string>();
    ++lora.keys;
    if (key.contains("skipped")) lora.skipped.push_back({name, key["skipped"].get<std::string>()});
  }
  return lora;
}

}  // namespace

TensorPlace place_of(std::string component, std::string_view name) {
  TensorPlace place{.component = std::move(component)};
  const BlockName block = block_name(name);
  const size_t number = block.pattern.find(".{}.");
  if (!block.block || number == block.pattern.npos) {
    place.layer = name;
    return place;
  }
  place.kind = block.pattern.substr(0, number);
  place.block = block.block;
  place.layer = block.pattern.substr(number + 4);
  return place;
}

void read_receipt(std::string_view text, const std::string& file, ReportFacts& facts) {
  facts.receipt = parse_receipt(text, file);
  try {
    const Json json = parse_json(text, file, kLongJson);
    const size_t loras = facts.receipt.loras.size();
    for (size_t i = 0; i < loras; ++i) {
      facts.loras.push_back(baked_lora(json.at("loras").at(i), facts.receipt.loras[i]));
    }
    for (const Json& item : json.at("baked")) {
      facts.baked.push_back(baked_tensor(item, loras, file));
    }
  } catch (const Json::exception& error) {
    fail("{}: not a receipt: {}", file, error.what());
  }
}

}  // namespace mflux::report
