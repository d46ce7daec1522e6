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
  uint64_t max_memory = uint64_t{1} << 30;  // bytes
  // Set it to end the pass with an Error of kind interrupted.
  const std::atomic<bool>* stop = nullptr;
  // Shards that are already there; empty: none.
  std::vector<bool> skip_shard = {};
  // Tensors that it returns false for are left out; empty: all are computed.
  std::function<bool(const PlannedTensor&)> only = {};
  // Also reads what no tensor needs, for the hash of the whole file.
  bool hash_inputs = true;

  // Called from one thread at a time, as the sink is.
  std::function<void(size_t)> on_shard_begin = {};  // the sink gets its first bytes next
  std::function<void(size_t)> on_shard_done = {};   // the sink has all of its bytes
  std::function<void(const PlannedTensor&, const BakeSums&)> on_tensor_done = {};
  std::function<void(uint64_t source_bytes)> on_progress = {};  // bytes read so far
};

struct PassResult {
  std::map<const PlannedTensor*, BakeSums> baked;
  // "component/file" -> XXH3-128, of every weight file.
  std::map<std::string, std::string> input_hashes;
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
