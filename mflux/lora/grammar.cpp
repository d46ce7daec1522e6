// SPDX-License-Identifier: MIT
// A key is tried against the endings from the first to the last, each as a word, perhaps an
// adapter's name, and a tail; what is left in front is the module. Keys that are known not to be a
// weight's are found by any part of the name. No key is matched by a model's layers here.
#include "mflux/lora/grammar.h"

#include <algorithm>
#include <array>
#include <string>

#include <fmt/format.h>

#include "mflux/safetensors/wrappers.h"

namespace mflux::lora {
namespace {

constexpr std::string_view kMlxDown = ".lora_a";
constexpr std::string_view kMlxUp = ".lora_b";

struct Ending {
  std::string_view word;
  std::string_view tail;  // after the word and, if `named`, an adapter's name: ".default.weight"
  bool named;
  Parameter parameter;
};

using enum Parameter;

// Tried in this order. Without a tail a name comes last: "lora_B.bias" has none.
constexpr std::array kEndings = {
    Ending{".lora_A", ".weight", true, down},
    Ending{".lora_B", ".weight", true, up},
    Ending{".lora_B", ".bias", true, up_bias},
    Ending{".lora_a", ".weight", true, down},
    Ending{".lora_b", ".weight", true, up},
    Ending{".lora_down", ".weight", true, down},
    Ending{".lora_up", ".weight", true, up},
    Ending{".lora_up", ".bias", true, up_bias},
    Ending{".lora_mid", ".weight", true, core},
    Ending{".lora.down", ".weight", true, down},
    Ending{".lora.up", ".weight", true, up},
    Ending{"_lora.down", ".weight", true, down},
    Ending{"_lora.up", ".weight", true, up},
    Ending{".lora_linear_layer.down", ".weight", true, down},
    Ending{".lora_linear_layer.up", ".weight", true, up},
    Ending{".lora_magnitude_vector", ".weight", true, magnitude},
    Ending{".lora_magnitude_vector", "", true, magnitude},
    Ending{".lora_A", "", true, down},
    Ending{".lora_B", "", true, up},
    Ending{kMlxDown, "", true, down},
    Ending{kMlxUp, "", true, up},
    Ending{".lora_down", "", true, down},
    Ending{".lora_up", "", true, up},
    Ending{".lora_mid", "", true, core},
    Ending{".m", "", false, magnitude},  // of mlx-lm
    Ending{".magnitude", "", false, magnitude},
    Ending{".dora_scale", "", false, magnitude},
    Ending{".alpha", "", true, alpha},
    Ending{".lora_alpha", "", true, alpha},
    Ending{".diff", "", false, diff},
    Ending{".diff_b", "", false, bias_diff},
    Ending{".w_norm", "", false, diff},
    Ending{".b_norm", "", false, bias_diff},
    Ending{".set_weight", "", false, weight},
    Ending{".reshape_weight", "", false, shape},
    Ending{".rescale", "", false, rescale},
    Ending{".on_input", "", false, on_input},
    Ending{".hada_w1_a", "", true, hada_w1_a},
    Ending{".hada_w1_b", "", true, hada_w1_b},
    Ending{".hada_w2_a", "", true, hada_w2_a},
    Ending{".hada_w2_b", "", true, hada_w2_b},
    Ending{".hada_t1", "", true, hada_t1},
    Ending{".hada_t2", "", true, hada_t2},
    Ending{".lokr_w1", "", true, lokr_w1},
    Ending{".lokr_w1_a", "", true, lokr_w1_a},
    Ending{".lokr_w1_b", "", true, lokr_w1_b},
    Ending{".lokr_w2", "", true, lokr_w2},
    Ending{".lokr_w2_a", "", true, lokr_w2_a},
    Ending{".lokr_w2_b", "", true, lokr_w2_b},
    Ending{".lokr_t2", "", true, lokr_t2},
    Ending{".oft_blocks", "", true, oft_blocks},
    Ending{".oft_R", ".weight", true, oft_matrix},
    Ending{".oft_R", ".scaled_oft", true, oft_scaled},
    Ending{".scaled_oft", "", false, oft_scaled},
    Ending{".a1", ".weight", false, glora_a1},
    Ending{".a2", ".weight", false, glora_a2},
    Ending{".b1", ".weight", false, glora_b1},
    Ending{".b2", ".weight", false, glora_b2},
    Ending{".bm", ".weight", false, glora_core},
    Ending{".modules_to_save", ".weight", true, weight},
    Ending{".modules_to_save", ".bias", true, bias},
    Ending{"", ".weight", false, weight},
    Ending{"", ".bias", false, bias},
    Ending{"", ".scale", false, weight},
};

struct Known {
  std::string_view part;  // of the key with a dot before it
  std::string_view reason;
};

constexpr std::array kIgnored = {
    Known{"._aux.", "a helper tensor of the tool that made the file"},
    Known{".bundle_emb.", "an embedding for the prompt that was trained with it"},
    Known{".__index_timestep_zero__", "a marker of the model's variant"},
};

constexpr std::array kRefused = {
    Known{"lambda_layer", "T-LoRA's lambda layers do not change a weight"},
    Known{".lora_E", "AdaLoRA is not supported"},
    Known{".ranknum", "AdaLoRA is not supported"},
    Known{".boft_R", "PEFT's BOFT is not supported; LyCORIS's is"},
    Known{".boft_s", "PEFT's BOFT is not supported; LyCORIS's is"},
    Known{".ia3_l", "PEFT's IA3 is not supported; LyCORIS's is"},
    Known{".vera_lambda", "VeRA's matrices are not in the file"},
    Known{".diff_m", "a modulation change of Wan; these models have no such tensor"},
    Known{"_loras.", "an EasyControl adapter works on its own inputs and cannot be merged"},
    Known{".ip_adapter_", "an IP-Adapter works on its own inputs and cannot be merged"},
    Known{".dreamo_", "DreamO's main file holds embeddings that the model has no place for"},
    Known{
        ".base_layer.",
        "the model's own weight, saved with the LoRA; a LoRA file without it is needed"},
    Known{
        ".original_module.",
        "the model's own weight, saved with the LoRA; a LoRA file without it is needed"},
    Known{".lora_embedding_", "a LoRA of an embedding is not supported"},
    Known{".qweight", "a file packed for nunchaku; use the LoRA it was made from"},
    Known{".smooth", "a file packed for nunchaku; use the LoRA it was made from"},
    Known{".qkv_proj.lora_", "a file packed for nunchaku; use the LoRA it was made from"},
    Known{".mlp_fc1.lora_", "a file packed for nunchaku; use the LoRA it was made from"},
    Known{".mlp_fc2.lora_", "a file packed for nunchaku; use the LoRA it was made from"},
    Known{".ema_", "averaged (EMA) weights beside the ordinary ones"},
    Known{"_ema.", "averaged (EMA) weights beside the ordinary ones"},
};

template <size_t N>
std::string_view find_reason(const std::array<Known, N>& table, std::string_view key) {
  const std::string dotted = fmt::format(".{}", key);
  const auto found = std::ranges::find_if(
      table, [&](const Known& known) { return dotted.find(known.part) != std::string::npos; });
  return found == table.end() ? "" : found->reason;
}

bool strip(std::string_view& text, std::string_view end) {
  if (!text.ends_with(end)) return false;
  text.remove_suffix(end.size());
  return true;
}

// XLabs: "double_blocks.0.processor.qkv_lora1.down.weight"; its module ends with the lora word.
std::optional<ParsedKey> parse_processor_key(std::string_view key) {
  std::string_view module = key;
  const bool is_down = strip(module, ".down.weight");
  if (!is_down && !strip(module, ".up.weight")) return std::nullopt;
  std::string_view rest = module;
  if (!rest.empty() && (rest.back() == '1' || rest.back() == '2')) rest.remove_suffix(1);
  if (!strip(rest, "qkv_lora") && !strip(rest, "proj_lora")) return std::nullopt;
  if (!rest.ends_with("processor.") && !rest.ends_with("processor_")) return std::nullopt;
  return ParsedKey{.module = module, .parameter = is_down ? down : up};
}

// What PEFT takes as the name of an adapter; with nothing after it, no part of a tensor's name.
bool is_adapter_name(std::string_view name, bool has_tail) {
  if (name.empty() || name.find(".lora_") != name.npos) return false;
  if (!has_tail && (name.find('.') != name.npos || name == "weight" || name == "bias"))
    return false;
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  });
}

std::optional<ParsedKey> match(const Ending& ending, std::string_view key) {
  if (!strip(key, ending.tail)) return std::nullopt;
  ParsedKey parsed{.parameter = ending.parameter};
  parsed.other_order = ending.tail.empty() && (ending.word == kMlxDown || ending.word == kMlxUp);
  if (!strip(key, ending.word)) {
    const size_t at = ending.named ? key.rfind(fmt::format("{}.", ending.word)) : key.npos;
    if (at == key.npos) return std::nullopt;
    const std::string_view name = key.substr(at + ending.word.size() + 1);
    if (!is_adapter_name(name, !ending.tail.empty())) return std::nullopt;
    key = key.substr(0, at);
    if (parsed.parameter != oft_blocks) parsed.adapter = name;  // kohya's are numbered
  }
  parsed.module = key;
  return parsed;
}

// ComfyUI writes changes of tensors that are not called "weight" with the tensor's name:
// "X.bias.diff".
ParsedKey with_tensor_name(ParsedKey parsed) {
  if (parsed.parameter != diff && parsed.parameter != weight) return parsed;
  if (strip(parsed.module, ".bias")) {
    parsed.parameter = parsed.parameter == diff ? bias_diff : bias;
  } else if (!strip(parsed.module, ".weight")) {
    strip(parsed.module, ".scale");
  }
  return parsed;
}

}  // namespace

std::string_view parameter_name(Parameter parameter) {
  switch (parameter) {
    case down:
      return "A";
    case up:
      return "B";
    case up_bias:
      return "bias of B";
    case alpha:
      return "alpha";
    case diff:
      return "difference";
    case bias_diff:
      return "difference of a bias";
    case core:
      return "Tucker core";
    case magnitude:
      return "DoRA magnitude";
    case weight:
      return "new weight";
    case bias:
      return "new bias";
    case shape:
      return "new shape";
    case rescale:
      return "OFT rescale";
    case on_input:
      return "IA3 direction";
    case hada_w1_a:
    case hada_w1_b:
    case hada_w2_a:
    case hada_w2_b:
    case hada_t1:
    case hada_t2:
      return "LoHa factor";
    case lokr_w1:
    case lokr_w1_a:
    case lokr_w1_b:
    case lokr_w2:
    case lokr_w2_a:
    case lokr_w2_b:
    case lokr_t2:
      return "LoKr factor";
    case oft_blocks:
      return "OFT blocks";
    case oft_matrix:
      return "OFT matrix";
    case oft_scaled:
      return "OFT mark";
    case glora_a1:
    case glora_a2:
    case glora_b1:
    case glora_b2:
    case glora_core:
      return "GLoRA factor";
  }
  return "";
}

bool holds_floats(Parameter parameter) {
  return parameter != alpha && parameter != shape && parameter != on_input &&
         parameter != oft_scaled;
}

std::optional<ParsedKey> parse_key(std::string_view key) {
  if (const auto parsed = parse_processor_key(key)) return parsed;
  for (const Ending& ending : kEndings) {
    const auto parsed = match(ending, key);
    if (parsed && !parsed->module.empty()) return with_tensor_name(*parsed);
  }
  return std::nullopt;
}

// A model's tensors have the same endings as values that replace one.
bool is_of_lora(std::string_view name) {
  const std::string key = safetensors::without_wrappers(name);
  const std::optional<ParsedKey> parsed = parse_key(key);
  if (!parsed) return !refused_because(key).empty();
  return (parsed->parameter != weight && parsed->parameter != bias) || key.ends_with(".set_weight");
}

std::string_view ignored_because(std::string_view key) {
  return find_reason(kIgnored, key);
}

std::string_view refused_because(std::string_view key) {
  return find_reason(kRefused, key);
}

}  // namespace mflux::lora
