// SPDX-License-Identifier: MIT
// bake.json: what went in, where every LoRA key went and what of it survived, what came out. The
// same inputs and options give the same text: no dates, no absolute paths. docs/receipt.md
// describes it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/options.h"

namespace mflux {

struct BakeSums;
struct Plan;
namespace lora {
struct Loaded;
}

struct FileRecord {
  std::string file = {};  // relative; forward slashes
  uint64_t bytes = 0;
  std::string xxh3_128 = {};
  std::string sha256 = {};  // "" unless asked for or known
};

struct LoraRecord {
  FileRecord file = {};
  std::vector<FileRecord> more_files = {};  // the other shards
  double scale = 1;
  std::string block_scales = {};  // as given; "" if none
  double kept = 1;                // over all tensors
  size_t layers = 0;              // merged
};

struct ComponentRecord {
  size_t shards = 0;
};

struct Receipt {
  std::string program_version = {};
  std::string family = {};
  SaveOptions options = {};  // model, output and LoRA names left out
  std::vector<FileRecord> inputs = {};
  std::vector<LoraRecord> loras = {};
  std::map<std::string, ComponentRecord> components = {};  // by name
  std::vector<FileRecord> outputs = {};
  bool is_sealed = false;  // has a hash of itself: receipt_seal.h
};

struct SaveReport {
  Receipt receipt = {};
  uint64_t output_bytes = 0;
  uint64_t source_bytes = 0;  // of weights
  size_t resumed_shards = 0;  // found finished from an earlier run
  std::vector<std::string> warnings = {};
};

// `sums`: by name of the planned tensor with its component, "transformer/...".
std::string format_receipt(
    const Receipt& receipt,
    const Plan& plan,
    const lora::Loaded& loras,
    const std::map<std::string, BakeSums>& sums);

// What verify needs of it. `file` is for messages.
Receipt parse_receipt(std::string_view text, const std::string& file);

}  // namespace mflux
