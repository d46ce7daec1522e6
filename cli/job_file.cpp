// SPDX-License-Identifier: MIT
// toml++ parses the text once toml_text.h has found it harmless. Every key is a row in a table of
// setters; a value of the wrong kind is reported with file, line and what is expected. [defaults]
// go into each output first, then its own keys.
#include "cli/job_file.h"

#include <cmath>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "cli/sizes.h"
#include "cli/toml_text.h"
#include "mflux/base/error.h"
#include "mflux/base/file.h"

namespace mflux::cli {
namespace {

// Where in the file something stands, for messages.
struct Place {
  std::string file = {};
  std::string key = {};

  std::string at(const toml::node& node) const {
    return fmt::format("{}:{}", file, node.source().begin.line);
  }

  [[noreturn]] void fail_here(const toml::node& node, std::string_view expected) const {
    std::ostringstream text;
    if (const auto value = node.value_exact<std::string>()) {
      text << '"' << *value << '"';
    } else if (node.is_table() || node.is_array()) {
      text << (node.is_table() ? "a table" : "an array");
    } else {
      node.visit([&](const auto& other) {
        if constexpr (toml::is_value<decltype(other)>) text << other;
      });
    }
    fail(ErrorKind::usage, "{}: {} is {}, expected {}", at(node), key, text.str(), expected);
  }

  std::string string(const toml::node& node, std::string_view expected) const {
    const auto value = node.value_exact<std::string>();
    if (!value) fail_here(node, expected);
    return *value;
  }

  bool boolean(const toml::node& node) const {
    const auto value = node.value_exact<bool>();
    if (!value) fail_here(node, "true or false");
    return *value;
  }

  // Of one of the named values.
  template <typename T>
  T choice(
      const toml::node& node,
      std::optional<T> (*parse)(std::string_view),
      std::string_view expected) const {
    const auto value = node.value_exact<std::string>();
    const std::optional<T> parsed = value ? parse(*value) : std::nullopt;
    if (!parsed) fail_here(node, expected);
    return *parsed;
  }

  uint64_t size(const toml::node& node) const {
    constexpr std::string_view kExpected = "a size such as \"2GiB\"";
    const std::string text = string(node, kExpected);
    try {
      return parse_size(text);
    } catch (const Error&) {
      fail_here(node, kExpected);
    }
  }

  double number(const toml::node& node, std::string_view expected) const {
    const auto value = node.is_number() ? node.value<double>() : std::nullopt;
    if (!value || !std::isfinite(*value)) fail_here(node, expected);
    return *value;
  }
};

std::optional<int> bits_of(const toml::node& node, const Place& place) {
  constexpr std::string_view kExpected = "2, 3, 4, 5, 6, 8 or \"none\"";
  if (node.value_exact<std::string>() == "none") return std::nullopt;
  const auto bits = node.value_exact<int64_t>();
  if (!bits || *bits < 2 || *bits > 8 || *bits == 7) place.fail_here(node, kExpected);
  return static_cast<int>(*bits);
}

int group_size_of(const toml::node& node, const Place& place) {
  const auto size = node.value_exact<int64_t>();
  if (!size || (*size != 16 && *size != 32 && *size != 64 && *size != 128))
    place.fail_here(node, "16, 32, 64 or 128, as the mode has them");
  return static_cast<int>(*size);
}

LoraRequest lora_of(const toml::node& node, const Place& place) {
  constexpr std::string_view kExpected = "a file name or { file = \"...\", scale = 1.0 }";
  if (node.is_string()) return {.name = place.string(node, kExpected)};
  const toml::table* table = node.as_table();
  if (table == nullptr) place.fail_here(node, kExpected);
  LoraRequest request;
  for (const auto& [name, value] : *table) {
    const Place inner{place.file, fmt::format("{}.{}", place.key, name.str())};
    if (name == "file") {
      request.name = inner.string(value, "a file name");
    } else if (name == "scale") {
      request.scale = inner.number(value, "a number");
    } else if (name == "block-scales") {
      request.block_scales = inner.string(value, "as for --lora-block-scales");
    } else {
      fail(
          ErrorKind::usage,
          "{}: unknown key {}; expected file, scale or block-scales",
          place.at(value),
          inner.key);
    }
  }
  if (request.name.empty()) place.fail_here(node, kExpected);
  return request;
}

std::vector<LoraRequest> loras_of(const toml::node& node, const Place& place) {
  const toml::array* array = node.as_array();
  if (array == nullptr) return {lora_of(node, place)};
  std::vector<LoraRequest> loras;
  for (const toml::node& item : *array) loras.push_back(lora_of(item, place));
  return loras;
}

using Setter = std::function<void(SaveOptions&, const toml::node&, const Place&)>;

// The keys of [defaults] and [[output]]: the long options of `mflux save`.
const std::map<std::string_view, Setter>& setters() {
  static const std::map<std::string_view, Setter> all = {
      {"path", [](auto& o, auto& n, auto& p) { o.output = p.string(n, "a folder"); }},
      {"lora", [](auto& o, auto& n, auto& p) { o.loras = loras_of(n, p); }},
      {"quantize", [](auto& o, auto& n, auto& p) { o.bits = bits_of(n, p); }},
      {"q-mode",
       [](auto& o, auto& n, auto& p) {
         o.mode = p.choice(n, parse_quant_mode, "\"affine\", \"mxfp4\", \"mxfp8\" or \"nvfp4\"");
       }},
      {"q-group-size", [](auto& o, auto& n, auto& p) { o.group_size = group_size_of(n, p); }},
      {"quantize-at-load", [](auto& o, auto& n, auto& p) { o.quantize_at_load = p.boolean(n); }},
      {"rounding",
       [](auto& o, auto& n, auto& p) {
         o.rounding = p.choice(n, parse_bake_rounding, "\"auto\", \"nearest\" or \"delta\"");
       }},
      {"escalate", [](auto& o, auto& n, auto& p) { o.escalate = p.boolean(n); }},
      {"on-lora-failure",
       [](auto& o, auto& n, auto& p) {
         o.on_lora_failure = p.choice(
             n,
             parse_on_lora_failure,
             "\"error\", \"skip-layer\", \"skip-lora\" or \"full-precision\"");
       }},
      {"min-kept",
       [](auto& o, auto& n, auto& p) {
         o.min_kept = p.number(n, "a number from 0 to 1");
         if (*o.min_kept < 0 || *o.min_kept > 1) p.fail_here(n, "a number from 0 to 1");
       }},
      {"layout",
       [](auto& o, auto& n, auto& p) {
         o.layout = p.choice(n, parse_layout, "\"mflux\", \"diffusers\" or \"comfyui\"");
       }},
      {"max-shard-size", [](auto& o, auto& n, auto& p) { o.max_shard_bytes = p.size(n); }},
      {"overwrite", [](auto& o, auto& n, auto& p) { o.overwrite = p.boolean(n); }},
      {"sha256", [](auto& o, auto& n, auto& p) { o.sha256 = p.boolean(n); }},
  };
  return all;
}

template <typename Names>
[[noreturn]] void unknown_key(
    const Place& place, const toml::node& node, std::string_view key, const Names& names) {
  std::string list;
  for (const auto& name : names) list += fmt::format("{}{}", list.empty() ? "" : ", ", name);
  fail(ErrorKind::usage, "{}: unknown key {}; expected one of {}", place.at(node), key, list);
}

void apply(const toml::table& table, const Place& place, SaveOptions& options) {
  for (const auto& [key, node] : table) {
    const auto it = setters().find(key.str());
    if (it == setters().end()) {
      std::vector<std::string_view> names;
      for (const auto& [name, setter] : setters()) names.push_back(name);
      unknown_key(place, node, key.str(), names);
    }
    it->second(options, node, {place.file, std::string(key.str())});
  }
}

SaveOptions output_of(const toml::node& node, const Place& place, const SaveOptions& defaults) {
  const toml::table* table = node.as_table();
  if (table == nullptr) place.fail_here(node, "a table: [[output]]");
  SaveOptions options = defaults;
  apply(*table, place, options);
  if (options.output.empty()) {
    fail(
        ErrorKind::usage,
        "{}: this output has no path, expected path = \"FOLDER\"",
        place.at(node));
  }
  try {
    options.quant_format();
  } catch (const Error& error) {
    fail(ErrorKind::usage, "{}: this output: {}", place.at(node), error.what());
  }
  return options;
}

SaveOptions defaults_of(const toml::table& root, const Place& place) {
  SaveOptions defaults;
  const toml::node* node = root.get("defaults");
  if (node == nullptr) return defaults;
  if (!node->is_table()) place.fail_here(*node, "a table: [defaults]");
  apply(*node->as_table(), place, defaults);
  if (!defaults.output.empty()) {
    fail(
        ErrorKind::usage,
        "{}: path in [defaults], expected one in each [[output]]",
        place.at(*node));
  }
  return defaults;
}

JobOptions job_of(const toml::table& root, const std::string& file) {
  JobOptions job;
  const SaveOptions defaults = defaults_of(root, {file, "defaults"});
  for (const auto& [key, node] : root) {
    const Place place{file, std::string(key.str())};
    if (key == "defaults") continue;
    if (key == "model") {
      job.model = place.string(node, "a folder, file or name");
    } else if (key == "base-model") {
      job.base_model = place.string(node, "the name of a model");
    } else if (key == "share") {
      job.share = place.boolean(node);
    } else if (key == "max-memory") {
      job.max_memory = place.size(node);
    } else if (key == "output") {
      const toml::array* array = node.as_array();
      if (array == nullptr) place.fail_here(node, "an array of tables: [[output]]");
      for (const toml::node& item : *array) job.outputs.push_back(output_of(item, place, defaults));
    } else {
      constexpr std::string_view kKeys[] = {
          "model", "base-model", "share", "max-memory", "defaults", "output"};
      unknown_key(place, node, key.str(), kKeys);
    }
  }
  if (job.outputs.empty())
    fail(ErrorKind::usage, "{}: no output, expected [[output]] tables", file);
  return job;
}

}  // namespace

JobOptions read_job_file(const std::filesystem::path& file) {
  const std::string text = read_text(file);
  check_toml(text, file.string());
  try {
    return job_of(toml::parse(text, file.string()), file.string());
  } catch (const toml::parse_error& error) {
    fail(
        ErrorKind::usage,
        "{}:{}: not TOML: {}",
        file.string(),
        error.source().begin.line,
        error.description());
  }
}

}  // namespace mflux::cli
