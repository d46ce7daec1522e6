// SPDX-License-Identifier: MIT
// The pass over the model: every source file is read once, front to back, in tiles of about a
// megabyte; a tile becomes its rows of the output (merge, quantize, round) and goes to a sink.
// Memory is a few tiles, whatever the model.
//
//   read (in order) -> compute (in parallel) -> hand to the sink and account (in order)
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "mflux/bake/planned.h"
#include "mflux/bake/sums.h"
#include "mflux/checkpoint/checkpoint.h"

namespace mflux {

// Where output bytes go: into files (save) or against files (verify). Called by one thread at a
// time, each byte of each planned part exactly once.
class Sink {
 public:
  Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;
  virtual ~Sink() = default;
  virtual void write(const PlannedPart& part, uint64_t offset, std::span<const std::byte> data) = 0;
};

struct PassOptions {
  uint64_t max_memory = uint64_t{1} << 30;
  const std::atomic<bool>* stop =
      nullptr;                        // set it to end the pass with an Error of kind interrupted
  std::vector<bool> skip_shard = {};  // shards that are already there; empty: none
  std::function<bool(const PlannedTensor&)> only = {};  // the others are left out; empty: all
  bool hash_inputs = true;  // also reads what no tensor needs, for the hash of the whole file
  // Called from one thread at a time, as the sink is.
  std::function<void(size_t)> on_shard_begin = {};  // first bytes go to the sink next
  std::function<void(size_t)> on_shard_done = {};   // all bytes of a shard are with the sink
  std::function<void(const PlannedTensor&, const BakeSums&)> on_tensor_done = {};
  std::function<void(uint64_t source_bytes)> on_progress = {};  // bytes read so far
};

struct PassResult {
  std::map<const PlannedTensor*, BakeSums> baked;
  std::map<std::string, std::string>
      input_hashes;  // "component/file" -> XXH3-128, of every weight file
};

// Bytes of tensors that run_pass() will read.
uint64_t bytes_to_read(const Checkpoint& model, const Plan& plan, const PassOptions& options);

PassResult run_pass(
    const Checkpoint& model, const Plan& plan, const PassOptions& options, Sink& sink);

// One of several outputs of a pass.
struct PassOutput {
  const Plan* plan = nullptr;
  const PassOptions* options = nullptr;  // of its own shards and tensors
  Sink* sink = nullptr;
};

// The same for several plans of one model: every source tensor is read once, and rows that come out
// the same in several outputs are computed once. What concerns the whole pass (max_memory, stop,
// hash_inputs, on_progress) is taken from the first output's options.
PassResult run_pass(const Checkpoint& model, const std::vector<PassOutput>& outputs);

// Bytes of tensors that such a pass will read.
uint64_t bytes_to_read(const Checkpoint& model, const std::vector<PassOutput>& outputs);

}  // namespace mflux
