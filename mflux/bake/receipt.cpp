// SPDX-License-Identifier: MIT
// Written with ordered_json, so that members stand in the order of docs/receipt.md; LoRAs in the
// order given, tensors in that of the plan. Read for verify: a receipt may come from strangers, so
// every number is checked against a limit, every file name must stay inside the folder, and a
// member that this version does not know is refused. Keys and baked tensors are not read here; the
// report reads them (report/details.h).
#include "mflux/bake/receipt.h"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "mflux/bake/planned.h"
#include "mflux/bake/receipt_seal.h"
#include "mflux/bake/sums.h"
#include "mflux/base/error.h"
#include "mflux/base/json.h"
#include "mflux/base/paths.h"
#include "mflux/lora/adapter.h"

namespace mflux {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const FileRecord& record) {
  Json json = {{"file", record.file}, {"bytes", record.bytes}, {"xxh3_128", record.xxh3_128}};
  if (!record.sha256.empty()) json["sha256"] = record.sha256;
  return json;
}

// Receipts come from strangers too: numbers that do not fit are refused.
uint64_t whole(const nlohmann::json& json, const char* key, uint64_t most = UINT64_MAX) {
  const nlohmann::json& value = json.at(key);
  if (const auto number = whole_number(value, most)) return *number;
  fail("{} is {}, expected a whole number up to {}", key, excerpt(value), most);
}

FileRecord file_record(const nlohmann::json& json) {
  return {
      .file = json.at("file").get<std::string>(),
      .bytes = whole(json, "bytes"),
      .xxh3_128 = json.at("xxh3_128").get<std::string>(),
      .sha256 = json.value("sha256", "")};
}

Json files_to_json(const std::vector<FileRecord>& files) {
  Json json = Json::array();
  for (const FileRecord& file : files) json.push_back(to_json(file));
  return json;
}

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Json to_json(const SaveOptions& options) {
  return {
      {"quantize", or_null(options.bits)},
      {"q_mode", quant_mode_name(options.mode)},
      {"q_group_size", or_null(options.group_size)},
      {"quantize_at_load", options.quantize_at_load},
      {"layout", to_string(options.layout)},
      {"max_shard_size", options.max_shard_bytes},
      {"on_lora_failure", to_string(options.on_lora_failure)},
      {"min_kept", or_null(options.min_kept)},
      {"rounding", to_string(options.rounding)},
      {"escalate", options.escalate},
      {"apart", options.apart},
      {"base_model", or_null(options.base_model)}};
}

SaveOptions options_from_json(const nlohmann::json& json) {
  SaveOptions options;
  const auto optional_int = [&](const char* key) -> std::optional<int> {
    constexpr uint64_t kMost = 1000;  // of bits, or of weights in a group
    if (json.at(key).is_null()) return std::nullopt;
    return static_cast<int>(whole(json, key, kMost));
  };
  options.bits = optional_int("quantize");
  options.mode = parse_quant_mode(json.at("q_mode").get<std::string>()).value();
  options.group_size = optional_int("q_group_size");
  options.quantize_at_load = json.at("quantize_at_load").get<bool>();
  options.layout = parse_layout(json.at("layout").get<std::string>()).value();
  options.max_shard_bytes = whole(json, "max_shard_size");
  options.on_lora_failure =
      parse_on_lora_failure(json.at("on_lora_failure").get<std::string>()).value();
  if (!json.at("min_kept").is_null()) options.min_kept = json.at("min_kept").get<double>();
  // Receipts from before there was a choice lack these.
  options.rounding = parse_bake_rounding(json.value("rounding", "nearest")).value();
  options.escalate = json.value("escalate", false);
  options.apart = json.value("apart", std::set<std::string>());
  if (!json.at("base_model").is_null())
    options.base_model = json.at("base_model").get<std::string>();
  return options;
}

Json key_to_json(const lora::KeyRecord& key) {
  Json json = {{"key", key.key}};
  if (!key.used) {
    json["skipped"] = key.reason;
    return json;
  }
  json["tensors"] = key.tensors;
  json["algorithm"] = key.algorithm;
  if (key.rank != 0) {
    json["rank"] = key.rank;
    json["alpha"] = key.alpha;
    json["alpha_source"] = lora::alpha_source_name(key.alpha_source);
  }
  if (key.block_scale != 1) json["block_scale"] = key.block_scale;
  if (!key.reason.empty()) json["note"] = key.reason;
  return json;
}

Json loras_to_json(const Receipt& receipt, const lora::Loaded& loras) {
  Json json = Json::array();
  for (size_t i = 0; i < receipt.loras.size(); ++i) {
    const LoraRecord& record = receipt.loras[i];
    const lora::Adapter& adapter = loras.adapters[i];
    Json item = to_json(record.file);
    if (!record.more_files.empty()) item["more_files"] = files_to_json(record.more_files);
    item["dialect"] = adapter.dialect;
    item["scale"] = record.scale;
    if (!record.block_scales.empty()) item["block_scales"] = record.block_scales;
    item["transposed"] = adapter.transposed;
    item["order_dependent"] = lora::depends_on_order(adapter);
    item["layers"] = record.layers;
    item["kept"] = record.kept;
    Json& keys = item["keys"] = Json::array();
    for (const lora::KeyRecord& key : adapter.keys) keys.push_back(key_to_json(key));
    json.push_back(std::move(item));
  }
  return json;
}

Json tensors_to_json(const Plan& plan, const std::map<std::string, BakeSums>& sums) {
  Json json = Json::array();
  for (const PlannedTensor& tensor : plan.tensors) {
    const std::string name = plan.name_of(tensor);
    const auto it = sums.find(name);
    if (it == sums.end()) continue;
    Json kept = Json::object();
    for (const auto& [index, lora] : it->second.loras) kept[std::to_string(index)] = lora.kept();
    const Json raised_from = or_null(tensor.raised_from);
    json.push_back({
        {"tensor", name},
        {"stored",
         tensor.format ? to_string(*tensor.format) : std::string(dtype_name(tensor.mapped.dtype))},
        {"rounding", tensor.keeps_delta ? "delta" : "nearest"},
        {"raised_from_bits", raised_from},
        {"kept", kept},
        {"relative_error", it->second.relative_error()},
        {"max_error", it->second.error.max_error},
    });
  }
  return json;
}

// So that no byte of a name can change unnoticed, that of the seal included.
void check_members(const nlohmann::json& json) {
  constexpr auto kMembers = std::to_array<std::string_view>(
      {"format",
       "format_version",
       "program_version",
       "family",
       "options",
       "inputs",
       "loras",
       "components",
       "baked",
       "outputs",
       kReceiptSeal});
  for (const auto& [name, value] : json.items()) {
    if (std::ranges::find(kMembers, name) == kMembers.end()) {
      fail("its member '{}' is unknown to this version", name);
    }
  }
}

}  // namespace

std::string format_receipt(
    const Receipt& receipt,
    const Plan& plan,
    const lora::Loaded& loras,
    const std::map<std::string, BakeSums>& sums) {
  Json components = Json::object();
  for (const PlannedComponent& component : plan.components) {
    if (component.shards == 0) continue;
    components[component.name] = {
        {"tensors", component.tensors},
        {"shards", component.shards},
        {"bytes", component.tensor_bytes},
        {"quantization_level", component.metadata.at("quantization_level")}};
  }
  const Json json = {
      {"format", "mflux.cpp bake"},
      {"format_version", 1},
      {"program_version", receipt.program_version},
      {"family", receipt.family},
      {"options", to_json(receipt.options)},
      {"inputs", files_to_json(receipt.inputs)},
      {"loras", loras_to_json(receipt, loras)},
      {"components", components},
      {"baked", tensors_to_json(plan, sums)},
      {"outputs", files_to_json(receipt.outputs)}};
  return seal_receipt(json.dump(1));
}

namespace {

LoraRecord lora_record(const nlohmann::json& json) {
  LoraRecord record{
      .file = file_record(json),
      .scale = json.at("scale").get<double>(),
      .block_scales = json.value("block_scales", ""),
      .kept = json.at("kept").get<double>(),
      .layers = whole(json, "layers")};
  const auto shards = json.find("more_files");
  if (shards == json.end()) return record;
  for (const nlohmann::json& shard : *shards) record.more_files.push_back(file_record(shard));
  return record;
}

Receipt receipt_from_json(const nlohmann::json& json) {
  if (json.at("format") != "mflux.cpp bake" || json.at("format_version") != 1) {
    fail("it has another format or version");
  }
  check_members(json);
  Receipt receipt;
  receipt.is_sealed = json.contains(kReceiptSeal);
  const auto components = json.find("components");
  if (components != json.end()) {
    for (const auto& [name, component] : components->items()) {
      receipt.components[name] = {.shards = whole(component, "shards")};
    }
  }
  receipt.program_version = json.at("program_version").get<std::string>();
  receipt.family = json.at("family").get<std::string>();
  receipt.options = options_from_json(json.at("options"));
  for (const auto& item : json.at("inputs")) receipt.inputs.push_back(file_record(item));
  for (const auto& item : json.at("outputs")) receipt.outputs.push_back(file_record(item));
  for (const auto* files : {&receipt.inputs, &receipt.outputs}) {
    for (const FileRecord& record : *files) {
      if (!stays_inside(record.file)) {
        fail("it names '{}', expected a file inside the folder", record.file);
      }
    }
  }
  for (const auto& item : json.at("loras")) receipt.loras.push_back(lora_record(item));
  return receipt;
}

}  // namespace

Receipt parse_receipt(std::string_view text, const std::string& file) {
  try {
    return receipt_from_json(parse_json(text, "it", kLongJson));
  } catch (const std::bad_optional_access&) {
    fail("{}: the receipt holds an option that this version does not know", file);
  } catch (const nlohmann::json::exception& error) {
    fail("{}: not a receipt: {}", file, error.what());
  } catch (const Error& error) {
    fail("{}: not a receipt: {}", file, error.what());
  }
}

}  // namespace mflux
