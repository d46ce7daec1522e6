// SPDX-License-Identifier: MIT
// What is this: a model, a part of one, or a LoRA? Read from headers; of a LoRA every value too.
//
//   const Inspection found = inspect({.path = "style.safetensors", .model = "FLUX.1-dev"});
//   if (found.lora) ...
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mflux/bake/receipt.h"
#include "mflux/checkpoint/checkpoint.h"
#include "mflux/doctor/doctor.h"
#include "mflux/models/block_name.h"

namespace mflux {

struct InspectOptions {
  std::string path = {};                       // file, folder or name; see hub/hub.h
  std::optional<std::string> base_model = {};  // family, where the files cannot tell
  std::optional<std::string> model = {};       // for a LoRA: on which model it is tried
  double scale = 1;                            // and with which scales
  std::string block_scales = {};
};

struct ComponentReport {
  std::string name = {};  // folder
  bool of_family = true;  // false: the family has no such component; nothing reads it
  std::map<std::string, size_t> blocks = {};   // "transformer_blocks" -> how many
  size_t tensors = 0;                          // a packed matrix is one
  uint64_t parameters = 0;                     // unpacked
  uint64_t bytes = 0;                          // of tensor data
  std::map<std::string, size_t> dtypes = {};   // of the stored tensors: "BF16" -> how many
  std::map<std::string, size_t> formats = {};  // of packed matrices: "8-bit affine, group 64"
  std::string level = {};                      // quantization_level of the metadata; "" if none
  bool at_load = false;                        // full precision on disk, to be quantized to `level`
  std::string index = {};                      // file name; "" where there is none
  std::string problem = {};                    // what keeps the family's tables from reading it
};

struct FolderReport {
  std::string name = {};
  size_t files = 0;  // 0: not there
};

struct ModelReport {
  Checkpoint checkpoint = {};  // `family` is null for a model this program does not know
  std::string unknown = {};    // why that is
  std::string variant = {};    // "dev", "schnell", ...; "" if nothing tells
  std::string saved_by = {};   // "mflux 0.24.0", "mflux.cpp 0.2.0"; "" if the metadata does not say
  // In the family's order, then those that it does not have.
  std::vector<ComponentReport> components = {};
  std::vector<std::string> missing = {};   // the family's components without a folder
  std::vector<FolderReport> folders = {};  // tokenizers, scheduler
  std::optional<Receipt> receipt = {};     // bake.json
  std::string receipt_problem = {};        // why there is none although the file is there
};

struct Inspection {
  std::filesystem::path path = {};
  uint64_t bytes = 0;  // of the safetensors files
  std::optional<ModelReport> model = {};
  std::optional<LoraReport> lora = {};  // one of the two is set
};

// Throws Error if there is nothing to look at or a file is malformed. What is merely unknown or
// does not fit is in the report.
Inspection inspect(const InspectOptions& options);

}  // namespace mflux
