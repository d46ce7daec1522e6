// SPDX-License-Identifier: MIT
#include "mflux/lora/contents.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "mflux/base/error.h"
#include "mflux/lora/family.h"
#include "mflux/lora/grammar.h"

namespace mflux::lora {
namespace {

using safetensors::TensorInfo;

void use_config(
    ParsedConfig parsed, std::string_view what, AdapterConfig& out, std::vector<std::string>& bad) {
  if (!parsed.error.empty()) {
    bad.push_back(fmt::format("{} {}", what, parsed.error));
  } else if (const auto method = parsed.config.changed_base(); !method.empty()) {
    bad.push_back(fmt::format(
        "initialized with {}, so it belongs to a changed model; convert it with PEFT to a plain "
        "LoRA",
        method));
  }
  out = std::move(parsed.config);
}

void read_configs(Contents& contents) {
  use_config(
      metadata_config(contents.header.metadata),
      "the metadata's LoRA configuration",
      contents.metadata,
      contents.bad_metadata);
  const std::filesystem::path sidecar = contents.path.parent_path() / "adapter_config.json";
  if (!std::filesystem::exists(sidecar)) return;
  use_config(
      parse_adapter_config(read_text(sidecar)),
      sidecar.string(),
      contents.sidecar,
      contents.bad_metadata);
}

void group_keys(Contents& contents) {
  std::map<std::string_view, size_t> positions;
  for (const TensorInfo& info : contents.header.tensors) {
    if (const auto why = ignored_because(info.name); !why.empty()) {
      contents.ignored.push_back({&info, why});
      continue;
    }
    const auto parsed = parse_key(info.name);
    if (const auto why = refused_because(info.name); !why.empty() || !parsed) {
      contents.refused.push_back({&info, why});
      continue;
    }
    const auto [position, is_new] = positions.emplace(parsed->module, contents.modules.size());
    if (is_new) contents.modules.push_back({std::string(parsed->module), {}});
    contents.modules[position->second].parts.push_back({parsed->parameter, &info});
  }
}

// A model's tensors have the same endings as values that replace one.
bool is_of_lora(const TensorInfo& info) {
  const std::optional<ParsedKey> parsed = parse_key(info.name);
  if (!parsed) return !refused_because(info.name).empty();
  return (parsed->parameter != Parameter::weight && parsed->parameter != Parameter::bias) ||
         info.name.ends_with(".set_weight");
}

}  // namespace

Contents open_contents(const std::filesystem::path& path) {
  Contents contents{.path = path, .file = MappedFile(path)};
  contents.header = safetensors::read_header(File::open(path));
  if (contents.header.file_bytes != contents.file.bytes().size()) {
    fail("{}: changed while it was read", path.string());
  }
  read_configs(contents);
  group_keys(contents);
  return contents;
}

bool looks_like_lora(const safetensors::Header& header) {
  const auto count = std::ranges::count_if(header.tensors, is_of_lora);
  return count > 0 && 2 * static_cast<size_t>(count) >= header.tensors.size();
}

std::string dialect_of(std::span<const Module> modules) {
  std::vector<std::string_view> dialects;
  for (const Module& module : modules) {
    const std::string_view dialect = module.place.dialect;
    const bool is_new = std::ranges::find(dialects, dialect) == dialects.end();
    if (!dialect.empty() && is_new) dialects.push_back(dialect);
  }
  return dialects.empty() ? "text encoder" : fmt::format("{}", fmt::join(dialects, " + "));
}

MadeFor made_for(const safetensors::Metadata& metadata, std::span<const Module> modules) {
  if (const auto said = metadata_family(metadata); !said.empty()) return {said, true};
  NameEvidence evidence;
  for (const Module& module : modules) {
    if (module.place.component == "transformer") evidence.add(module.name);
  }
  return {evidence.family(), false};
}

}  // namespace mflux::lora
