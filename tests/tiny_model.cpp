// SPDX-License-Identifier: MIT
#include "tests/tiny_model.h"

#include <bit>
#include <cmath>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "mflux/base/error.h"
#include "mflux/safetensors/folder.h"
#include "tests/published_headers.h"
#include "tests/tiny_configs.h"

namespace mflux::testing {
namespace fs = std::filesystem;
namespace {

using models::SourceComponent;
using Widths = std::map<uint64_t, uint64_t>;

constexpr uint64_t kText = 128;  // width of the text encoders' output

// Numbers that look normal (a sum of four even ones) and are the same on every machine.
class Numbers {
 public:
  explicit Numbers(std::string_view seed) {
    for (const char c : seed) state_ = (state_ ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  }

  float next() {
    const uint64_t bits = next_bits();
    int64_t sum = 0;
    for (int i = 0; i < 4; ++i) sum += static_cast<int64_t>(bits >> (16 * i) & 0xffff);
    constexpr double kDeviation = 37837;  // of that sum
    return static_cast<float>(static_cast<double>(sum - 131070) / kDeviation);
  }

 private:
  uint64_t next_bits() {  // splitmix64
    uint64_t z = state_ += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }

  uint64_t state_ = 0xcbf29ce484222325U;
};

uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Norms are near 1, weights are scaled by their inputs so that a picture model's layers would not
// blow up.
std::vector<uint16_t> weights(std::string_view name, const TensorSpec& spec) {
  const bool norm =
      name.find("norm") != name.npos || name.ends_with("gamma") || name.find("ln_q") != name.npos;
  const bool vector = spec.shape.size() < 2 || name.ends_with("gamma");
  const float center = norm && vector && !name.ends_with("bias") ? 1.0F : 0.0F;
  const auto inputs = static_cast<float>(vector ? 2500 : spec.row_elements());
  const float deviation = 1 / std::sqrt(inputs);
  Numbers numbers(name);
  std::vector<uint16_t> values(spec.elements());
  for (uint16_t& value : values) value = to_bf16(center + deviation * numbers.next());
  return values;
}

void write_text(const fs::path& file, std::string_view text) {
  fs::create_directories(file.parent_path());
  std::ofstream out(file, std::ios::binary);
  out << text << std::flush;
  if (!out) fail("{}: cannot write", file.string());
}

struct Named {
  std::string name;
  TensorSpec spec;
};

void write_file(
    const fs::path& file,
    const std::vector<Named>& tensors,
    const safetensors::Metadata& metadata,
    const std::function<std::vector<uint16_t>(const Named&)>& values) {
  std::vector<safetensors::TensorInfo> infos;
  for (const Named& tensor : tensors) {
    infos.push_back({.name = tensor.name, .spec = tensor.spec, .bytes = tensor.spec.bytes()});
  }
  write_text(file, safetensors::format_header(infos, metadata));
  std::ofstream out(file, std::ios::binary | std::ios::app);
  for (const Named& tensor : tensors) {
    const std::vector<uint16_t> data = values(tensor);
    out.write(
        reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(2 * data.size()));
  }
  if (!out.flush()) fail("{}: cannot write", file.string());
}

// What becomes of the published widths, by component.
std::map<std::string, Widths> narrowed(TinyFamily family, uint64_t hidden) {
  const Widths blocks = {
      {3072, hidden},
      {6144, 2 * hidden},
      {9216, 3 * hidden},
      {12288, 4 * hidden},
      {15360, 5 * hidden},
      {18432, 6 * hidden},
      {128, 64},  // of a head
      {768, 64},
      {3584, kText},
      {4096, kText}};
  if (family == TinyFamily::flux) {
    return {
        {"transformer", blocks},
        {"text_encoder", {{768, 64}, {3072, 256}, {49408, 512}}},
        {"text_encoder_2", {{4096, kText}, {10240, 256}, {32128, 512}}},
        {"vae", {{128, 16}, {256, 32}, {512, 64}}}};
  }
  return {
      {"transformer", blocks},
      {"text_encoder",
       {{3584, kText},
        {512, 64},
        {18944, 256},
        {152064, 512},
        {1280, 64},
        {3840, 192},
        {3420, 128},
        {5120, 256}}},
      {"vae", {{96, 8}, {192, 16}, {384, 32}, {768, 64}, {1152, 96}}}};
}

std::map<std::string, std::vector<Named>> tensors_of(TinyFamily family, const TinySize& size) {
  if (size.hidden == 0 || size.hidden % 64 != 0 || size.blocks < 1 || size.shards < 1) {
    fail("a tiny model needs a hidden width that is a multiple of 64, a block and a shard");
  }
  const std::string file = family == TinyFamily::flux ? "flux-dev.txt" : "qwen-image.txt";
  const auto published =
      read_published_headers(fs::path(MFLUX_TEST_DATA) / "models" / file, size.blocks);
  const auto widths = narrowed(family, size.hidden);
  std::map<std::string, std::vector<Named>> result;
  for (const auto& [component, source] : published) {
    const Widths& narrow = widths.at(component);
    for (const SourceComponent::Tensor& tensor : source.tensors) {
      Named named{tensor.name, tensor.spec};
      for (uint64_t& width : named.spec.shape) {
        if (const auto it = narrow.find(width); it != narrow.end()) width = it->second;
      }
      result[component].push_back(std::move(named));
    }
  }
  return result;
}

// As diffusers and transformers name their files: one alone, or numbered ones and an index.
void write_component(
    const fs::path& folder,
    std::string_view component,
    const std::vector<Named>& tensors,
    int shards) {
  const std::string stem =
      component.starts_with("text_encoder") ? "model" : "diffusion_pytorch_model";
  const auto values = [&](const Named& tensor) {
    return weights(std::string(component) + "/" + tensor.name, tensor.spec);
  };
  if (shards == 1) {
    write_file(folder / (stem + ".safetensors"), tensors, {{"format", "pt"}}, values);
    return;
  }
  uint64_t total = 0;
  for (const Named& tensor : tensors) total += tensor.spec.bytes();
  std::vector<std::vector<Named>> parts(static_cast<size_t>(shards));
  std::vector<safetensors::IndexEntry> entries;
  uint64_t begin = 0;
  for (const Named& tensor : tensors) {
    const uint64_t part = begin * static_cast<uint64_t>(shards) / total;
    parts[part].push_back(tensor);
    entries.push_back(
        {tensor.name, fmt::format("{}-{:05}-of-{:05}.safetensors", stem, part + 1, shards)});
    begin += tensor.spec.bytes();
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string name = fmt::format("{}-{:05}-of-{:05}.safetensors", stem, i + 1, shards);
    write_file(folder / name, parts[i], {{"format", "pt"}}, values);
  }
  write_text(
      folder / (stem + ".safetensors.index.json"), safetensors::format_index(entries, {}, total));
}

class LoraWriter {
 public:
  LoraWriter(TinyLora kind, uint64_t rank) : kohya_(kind == TinyLora::kohya), rank_(rank) {}

  // `key`: the module in the dialect's own spelling.
  void add(const std::string& key, uint64_t outputs, uint64_t inputs) {
    const std::string down = kohya_ ? ".lora_down.weight" : ".lora_A.weight";
    const std::string up = kohya_ ? ".lora_up.weight" : ".lora_B.weight";
    tensors_.push_back({key + down, {Dtype::bf16, {rank_, inputs}}});
    tensors_.push_back({key + up, {Dtype::bf16, {outputs, rank_}}});
    if (kohya_) tensors_.push_back({key + ".alpha", {Dtype::bf16, {}}});
  }

  void write(const fs::path& file, const safetensors::Metadata& metadata) const {
    testing::write_file(
        file, tensors_, metadata, [&](const Named& tensor) { return values(tensor); });
  }

 private:
  // up * down changes a weight by about a fifth of its size.
  std::vector<uint16_t> values(const Named& tensor) const {
    if (tensor.spec.shape.empty()) return {to_bf16(static_cast<float>(rank_) / 2)};
    const bool down = tensor.spec.shape[0] == rank_;
    const auto width = static_cast<float>(down ? tensor.spec.shape[1] : rank_);
    const float deviation = (down ? 1.0F : 0.2F) / std::sqrt(width);
    Numbers numbers(tensor.name);
    std::vector<uint16_t> result(tensor.spec.elements());
    for (uint16_t& value : result) value = to_bf16(deviation * numbers.next());
    return result;
  }

  bool kohya_;
  uint64_t rank_;
  std::vector<Named> tensors_ = {};
};

// The module of a linear layer's weight that LoRA trainers change; "" for every other tensor.
std::string trained_module(const Named& tensor) {
  constexpr std::string_view kWeight = ".weight";
  const bool block = tensor.name.find("transformer_blocks.") != std::string::npos;
  if (!block || tensor.spec.shape.size() != 2 || !tensor.name.ends_with(kWeight)) return "";
  return tensor.name.substr(0, tensor.name.size() - kWeight.size());
}

std::string flat(std::string name) {
  for (char& c : name) c = c == '.' ? '_' : c;
  return name;
}

void add_flux_kohya(LoraWriter& lora, const TinySize& size) {
  const uint64_t h = size.hidden;
  for (int i = 0; i < size.blocks; ++i) {
    for (const char* stream : {"img", "txt"}) {
      const std::string block = fmt::format("lora_unet_double_blocks_{}_{}_", i, stream);
      lora.add(block + "attn_qkv", 3 * h, h);
      lora.add(block + "attn_proj", h, h);
      lora.add(block + "mlp_0", 4 * h, h);
      lora.add(block + "mlp_2", h, 4 * h);
      lora.add(block + "mod_lin", 6 * h, h);
    }
    const std::string single = fmt::format("lora_unet_single_blocks_{}_", i);
    lora.add(single + "linear1", 7 * h, h);
    lora.add(single + "linear2", h, 5 * h);
    const std::string layer = fmt::format("lora_te1_text_model_encoder_layers_{}_", i);
    for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj"})
      lora.add(layer + "self_attn_" + name, 64, 64);
    lora.add(layer + "mlp_fc1", 256, 64);
    lora.add(layer + "mlp_fc2", 64, 256);
  }
}

void copy_tokenizer(const char* kind, const fs::path& folder) {
  const fs::path data = fs::path(MFLUX_TEST_DATA) / "tokenizer" / kind;
  fs::copy(data, folder, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
}

}  // namespace

void write_tiny_model(const fs::path& folder, TinyFamily family, const TinySize& size) {
  for (const auto& [component, tensors] : tensors_of(family, size)) {
    write_component(
        folder / component, component, tensors, component == "transformer" ? size.shards : 1);
  }
  const TinyConfigSize sizes{
      .heads = size.hidden / 64, .blocks = static_cast<uint64_t>(size.blocks), .text = kText};
  for (const ConfigFile& file : tiny_configs(family, sizes))
    write_text(folder / file.name, file.text);
  const bool flux = family == TinyFamily::flux;
  copy_tokenizer(flux ? "clip" : "qwen", folder / "tokenizer");
  if (flux) copy_tokenizer("t5", folder / "tokenizer_2");
}

void write_tiny_lora(
    const fs::path& file, TinyFamily family, TinyLora kind, const TinySize& size, uint64_t rank) {
  LoraWriter lora(kind, rank);
  if (kind == TinyLora::kohya && family == TinyFamily::flux) {
    add_flux_kohya(lora, size);
  } else {
    const auto tensors = tensors_of(family, size);
    bool widened = false;
    for (const Named& tensor : tensors.at("transformer")) {
      const std::string module = trained_module(tensor);
      if (module.empty()) continue;
      const bool widen = kind == TinyLora::misfit && !widened && module.ends_with("to_q");
      widened = widened || widen;
      const uint64_t outputs = tensor.spec.shape[0] * (widen ? 2 : 1);
      const std::string key =
          kind == TinyLora::kohya ? "lora_unet_" + flat(module) : "transformer." + module;
      lora.add(key, outputs, tensor.spec.shape[1]);
    }
  }
  if (kind == TinyLora::misfit) {
    lora.add("transformer.transformer_blocks.99.attn.to_q", size.hidden, size.hidden);
  }
  lora.write(file, {{"format", "pt"}});
}

}  // namespace mflux::testing
