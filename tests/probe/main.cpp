// SPDX-License-Identifier: MIT
#include <cstdio>
#include <exception>
#include <string>
#include <unordered_map>

#include <fmt/format.h>
#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "tests/probe/probe.h"

namespace mflux::probe {

const mx::array& input_of(const Tensors& input, const std::string& name) {
  const auto found = input.find(name);
  if (found == input.end()) fail("the input has no tensor '{}'", name);
  return found->second;
}

nn::LoadOptions load_options(const Tensors& input) {
  const bool bfloat16 = input.contains("bfloat16");
  return {.products = bfloat16 ? nn::Products::bfloat16 : nn::Products::float32};
}

namespace {

void run(const std::string& path, const std::string& part, const char* in, const char* out) {
  const Checkpoint model = open_checkpoint(path);
  const bool flux = models::family_name(*model.family) == "flux";
  const auto& parts = flux ? flux_parts() : qwen_parts();
  const auto found = parts.find(part);
  if (found == parts.end()) fail("no part '{}'", part);
  const auto loaded = mx::load_safetensors(in).first;
  const Tensors output = found->second(model, Tensors(loaded.begin(), loaded.end()));
  std::unordered_map<std::string, mx::array> result;
  for (const auto& [name, array] : output) {
    result.emplace(name, mx::contiguous(mx::astype(array, mx::float32)));
  }
  mx::save_safetensors(out, result);
}

}  // namespace
}  // namespace mflux::probe

int main(int argc, char** argv) try {
  if (argc != 5) {
    fmt::print(stderr, "usage: network_probe MODEL PART INPUT OUTPUT\n");
    return 2;
  }
  mflux::probe::run(argv[1], argv[2], argv[3], argv[4]);
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "network_probe: {}\n", error.what());
  return 1;
}
