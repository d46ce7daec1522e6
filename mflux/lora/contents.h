// SPDX-License-Identifier: MIT
// A LoRA file taken apart, before any model is looked at: its modules, its configuration, and what
// its names and metadata say about where it came from.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/base/file_stamp.h"
#include "mflux/base/joined_files.h"
#include "mflux/lora/adapter_config.h"
#include "mflux/lora/module.h"
#include "mflux/lora/refusal.h"
#include "mflux/safetensors/header.h"

namespace mflux::lora {

// A key that is part of no module.
struct StrayKey {
  const safetensors::TensorInfo* info = nullptr;
  std::string_view why;  // "": nothing is known about it
};

struct Contents {
  std::filesystem::path path;
  std::vector<std::filesystem::path> files;
  std::vector<FileStamp> stamps;            // of the files, as they were when they were opened
  std::unique_ptr<const JoinedFiles> file;  // at an address that stays: factors read from it
  safetensors::Header header = {};          // of all files; offsets count in `file`
  std::optional<Refusal> refusal = {};      // why nothing of it can be merged
  std::vector<Module> modules = {};         // in file order, their places not resolved
  std::vector<StrayKey> ignored = {};       // no weight change: left out with a word
  std::vector<StrayKey> refused = {};
  AdapterConfig metadata = {};
  AdapterConfig sidecar = {};  // adapter_config.json beside the file
  bool other_order = false;    // its names are MLX's, which say that the matrices are transposed
  std::vector<std::string> bad_metadata = {};  // what is wrong with the two
};

// Throws Error for a file that cannot be read or is not a well-formed safetensors file. `path`: see
// files.h.
Contents open_contents(const std::filesystem::path& path);

// Do the keys look like a LoRA's rather than a model's.
bool looks_like_lora(const safetensors::Header& header);

// "kohya", "diffusers + ComfyUI": whose prefixes the resolved modules have.
std::string dialect_of(std::span<const Module> modules);

}  // namespace mflux::lora
