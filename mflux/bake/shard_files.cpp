// SPDX-License-Identifier: MIT
// The pass calls write() from one thread at a time; it creates a shard's hidden file with its first
// bytes and hashes what it writes. Finished shards wait in a queue for a thread that syncs them,
// which may take seconds, enters them in the journal and renames them, while the pass goes on with
// the next. An error there is kept and ends the pass through `stop`; wait() throws it.
#include "mflux/bake/shard_files.h"

#include "mflux/base/error.h"
#include "mflux/base/hash.h"

namespace mflux {

ShardFiles::ShardFiles(const Plan& plan, OutputFolder& output, std::atomic<bool>& stop)
    : plan_(plan), output_(output), stop_(stop), thread_([this] { work(); }) {}

ShardFiles::~ShardFiles() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    queue_.clear();
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

ShardFiles::OpenShard& ShardFiles::opened(size_t index) {
  const std::lock_guard lock(mutex_);
  OpenShard& shard = open_[index];
  if (shard.file) return shard;
  const PlannedShard& planned = plan_.shards[index];
  shard.file.emplace(output_.prepare(planned.file), planned.bytes);
  const auto header = std::as_bytes(std::span(planned.header));
  shard.file->file().write(0, header);
  shard.hash.emplace(shard.file->file());
  shard.hash->add(0, header);
  return shard;
}

void ShardFiles::write(const PlannedPart& part, uint64_t offset, std::span<const std::byte> data) {
  OpenShard& shard = opened(part.shard);
  shard.file->file().write(offset, data);
  shard.hash->add(offset, data);
}

void ShardFiles::add_baked(const PlannedTensor& tensor, const BakeSums& sums) {
  opened(tensor.weight.shard).result.baked[tensor.mapped.name] = sums;
}

void ShardFiles::finish(size_t shard) {
  opened(shard);  // a shard without data has a header all the same
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(shard);
  }
  changed_.notify_all();
}

void ShardFiles::wait() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  thread_.join();
  if (failure_) std::rethrow_exception(failure_);
}

void ShardFiles::complete(size_t index) {
  OpenShard& shard = opened(index);
  shard.result.hash = shard.hash->finish();
  shard.result.bytes = plan_.shards[index].bytes;
  shard.result.temporary = shard.file->temporary().filename().string();
  shard.hash.reset();
  shard.file->sync();
  // First the journal, then the name: killed in between, the next run does not write it again.
  output_.add_finished(plan_.shards[index].file, std::move(shard.result));
  shard.file->publish();
  const std::lock_guard lock(mutex_);
  open_.erase(index);
}

void ShardFiles::work() {
  while (true) {
    size_t shard = 0;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      shard = queue_.front();
      queue_.pop_front();
    }
    try {
      complete(shard);
    } catch (...) {
      failure_ = std::current_exception();
      stop_ = true;
      return;
    }
  }
}

}  // namespace mflux
