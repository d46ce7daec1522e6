// SPDX-License-Identifier: MIT
// The sink of a save: shards under hidden names until they are complete, then synced and renamed
// by a thread of their own while the next ones are computed.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "mflux/bake/output_folder.h"
#include "mflux/bake/pass.h"
#include "mflux/base/file.h"
#include "mflux/base/hash.h"

namespace mflux {

class ShardFiles : public Sink {
 public:
  ShardFiles(const Plan& plan, OutputFolder& output, std::atomic<bool>& stop);
  ~ShardFiles() override;

  void write(const PlannedPart& part, uint64_t offset, std::span<const std::byte> data) override;
  // Before its shard is finished.
  void add_baked(const PlannedTensor& tensor, const BakeSums& sums);
  // All bytes are written: the rest happens in the background.
  void finish(size_t shard);
  // Until all finished shards are in place; rethrows what went wrong with them.
  void wait();

 private:
  struct OpenShard {
    std::optional<NewFile> file;
    std::optional<WrittenHash> hash;
    FinishedShard result;
  };
  OpenShard& opened(size_t shard);
  void complete(size_t shard);
  void work();

  const Plan& plan_;
  OutputFolder& output_;
  std::atomic<bool>& stop_;  // set when a shard cannot be finished
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<size_t, OpenShard> open_;
  std::deque<size_t> queue_;
  bool closing_ = false;
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace mflux
