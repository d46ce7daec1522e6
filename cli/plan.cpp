// SPDX-License-Identifier: MIT
#include "cli/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/sizes.h"
#include "mflux/bake/prepare.h"
#include "mflux/base/printable.h"
#include "mflux/checkpoint/checkpoint.h"
#include "mflux/hub/hub.h"

namespace mflux::cli {
namespace {

using Json = nlohmann::ordered_json;

std::vector<const PlannedPart*> parts(const PlannedTensor& tensor) {
  std::vector<const PlannedPart*> list = {&tensor.weight};
  if (tensor.scales) list.push_back(&*tensor.scales);
  if (tensor.biases) list.push_back(&*tensor.biases);
  return list;
}

void print_json(const Plan& plan, const lora::Loaded& loras, Console& console) {
  for (const PlannedTensor& tensor : plan.tensors) {
    for (const PlannedPart* part : parts(tensor)) {
      const Json json = {
          {"event", "tensor"},
          {"component", plan.components[tensor.component].name},
          {"name", part->name},
          {"dtype", dtype_name(part->spec.dtype)},
          {"shape", part->spec.shape},
          {"bits", tensor.format ? Json(tensor.format->bits) : Json()},
          {"bytes", part->spec.bytes()},
          {"file", plan.shards[part->shard].file},
          {"baked", tensor.baked()},
          {"raised_from_bits", tensor.raised_from ? Json(*tensor.raised_from) : Json()},
          {"rounding", tensor.keeps_delta ? "delta" : "nearest"}};
      console.object(json);
    }
  }
  for (const lora::Adapter& adapter : loras.adapters) {
    for (const lora::KeyRecord& key : adapter.keys) {
      const Json json = {
          {"event", "lora key"},
          {"lora", adapter.path.filename().string()},
          {"key", key.key},
          {"used", key.used},
          {"tensors", key.tensors},
          {"rank", key.rank},
          {"alpha", key.alpha},
          {"reason", key.reason}};
      console.object(json);
    }
  }
  for (const PlannedShard& shard : plan.shards) {
    const Json json = {
        {"event", "shard"},
        {"file", shard.file},
        {"bytes", shard.bytes},
        {"tensors", shard.tensors.size()}};
    console.object(json);
  }
  const Json json = {
      {"event", "plan"},
      {"bytes", plan.bytes()},
      {"shards", plan.shards.size()},
      {"notes", plan.notes}};
  console.object(json);
}

void print_text(const Plan& plan, const lora::Loaded& loras, Console& console) {
  for (const PlannedTensor& tensor : plan.tensors) {
    for (const PlannedPart* part : parts(tensor)) {
      console.result(format_printable(
          "{}/{}  {} {}  {}{}",
          plan.components[tensor.component].name,
          part->name,
          dtype_name(part->spec.dtype),
          to_string(part->spec.shape),
          plan.shards[part->shard].file,
          tensor.keeps_delta ? "  + LoRA, delta rounding"
          : tensor.baked()   ? "  + LoRA"
                             : ""));
    }
  }
  for (const lora::Adapter& adapter : loras.adapters) {
    console.result(format_printable(
        "\n{}: {}, scale {:g}", adapter.path.filename().string(), adapter.dialect, adapter.scale));
    for (const lora::KeyRecord& key : adapter.keys) {
      if (key.used) {
        console.result(format_printable("  {} -> {}", key.key, fmt::join(key.tensors, ", ")));
      } else {
        console.result(format_printable("  {} skipped: {}", key.key, key.reason));
      }
    }
  }
  console.result("");
  for (const PlannedShard& shard : plan.shards) {
    console.result(format_printable(
        "{}  {}  {} tensors", shard.file, format_size(shard.bytes), shard.tensors.size()));
  }
  for (const PlannedComponent& component : plan.components) {
    if (component.shards == 0) continue;
    console.result(format_printable(
        "{}: {} tensors, {} shard(s), {}, quantization level {}",
        component.name,
        component.tensors,
        component.shards,
        format_size(component.tensor_bytes),
        component.metadata.at("quantization_level")));
  }
  for (const std::string& note : plan.notes) console.result(format_printable("Note: {}", note));
  console.result(format_printable("{} in all; nothing was written.", format_size(plan.bytes())));
}

}  // namespace

void print_plan(const Plan& plan, const lora::Loaded& loras, Console& console) {
  if (console.json()) return print_json(plan, loras, console);
  print_text(plan, loras, console);
}

int print_plan(const SaveOptions& options, const ConsoleOptions& console_options) {
  const Checkpoint model = open_checkpoint(hub::resolve_model(options.model), options.base_model);
  lora::Loaded loras = load_loras(model, options);
  Console console(console_options);
  const Plan plan = settle_plan(model, loras, options, console.events("Measuring"));
  print_plan(plan, loras, console);
  return ExitStatus::done;
}

}  // namespace mflux::cli
