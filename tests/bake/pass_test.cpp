// SPDX-License-Identifier: MIT
#include "mflux/bake/pass.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/bake/plan.h"
#include "mflux/bake/prepare.h"
#include "mflux/base/hash.h"
#include "tests/testing.h"
#include "tests/tiny_save.h"

namespace mflux {
namespace {

using testing::contains;
using testing::error_of;
using testing::TinyFamily;
using testing::TinySave;

// A model, its LoRA and the plan to save them.
struct Planned {
  explicit Planned(const TinySave& tiny, uint64_t max_shard_bytes = 200'000)
      : options(tiny.options()), model(open_checkpoint(options.model)) {
    options.max_shard_bytes = max_shard_bytes;
    loras = load_loras(model, options);
    plan = make_plan(model, loras, options);
  }

  SaveOptions options;
  Checkpoint model;
  lora::Loaded loras;
  Plan plan;
};

// Keeps every shard in memory and counts how often each byte was written.
class MemorySink : public Sink {
 public:
  explicit MemorySink(const Plan& plan) {
    for (const PlannedShard& shard : plan.shards) {
      bytes.emplace_back(shard.bytes);
      writes.emplace_back(shard.bytes);
    }
  }

  void write(const PlannedPart& part, uint64_t offset, std::span<const std::byte> data) override {
    const std::lock_guard lock(mutex_);
    REQUIRE(offset >= part.offset);
    REQUIRE(offset + data.size() <= part.offset + part.spec.bytes());
    for (size_t i = 0; i < data.size(); ++i) {
      bytes[part.shard][offset + i] = data[i];
      ++writes[part.shard][offset + i];
    }
  }

  std::vector<std::vector<std::byte>> bytes;
  std::vector<std::vector<uint8_t>> writes;

 private:
  std::mutex mutex_;
};

class FailingSink : public Sink {
 public:
  void write(const PlannedPart& part, uint64_t, std::span<const std::byte>) override {
    fail("no room for {}", part.name);
  }
};

TEST_CASE("each byte of each planned part is written exactly once, and none of the header") {
  const TinySave tiny;
  const Planned planned(tiny);
  MemorySink sink(planned.plan);
  run_pass(planned.model, planned.plan, {}, sink);
  REQUIRE(planned.plan.shards.size() > 5);
  for (size_t i = 0; i < planned.plan.shards.size(); ++i) {
    const PlannedShard& shard = planned.plan.shards[i];
    CAPTURE(shard.file);
    const auto data = sink.writes[i].begin() + static_cast<std::ptrdiff_t>(shard.header.size());
    CHECK(std::all_of(sink.writes[i].begin(), data, [](uint8_t n) { return n == 0; }));
    CHECK(std::all_of(data, sink.writes[i].end(), [](uint8_t n) { return n == 1; }));
  }
}

TEST_CASE("computed tensors are written once, in a shard with others or alone in theirs") {
  const TinySave tiny(TinyFamily::qwen);
  for (const uint64_t max_shard_bytes : {200'000U, 1U}) {
    const Planned planned(tiny, max_shard_bytes);
    MemorySink sink(planned.plan);
    std::vector<int> begun(planned.plan.shards.size());
    std::vector<int> done(planned.plan.shards.size());
    const PassOptions options{
        .on_shard_begin = [&](size_t shard) { ++begun[shard]; },
        .on_shard_done = [&](size_t shard) { ++done[shard]; }};
    run_pass(planned.model, planned.plan, options, sink);
    CHECK(std::ranges::count(begun, 1) == std::ssize(begun));
    CHECK(std::ranges::count(done, 1) == std::ssize(done));
    size_t computed = 0;
    for (const PlannedTensor& tensor : planned.plan.tensors) {
      if (!tensor.computed()) continue;
      ++computed;
      const PlannedPart& part = tensor.weight;
      const auto values = std::as_bytes(std::span(tensor.mapped.values));
      const auto at = static_cast<std::ptrdiff_t>(part.offset);
      CHECK(std::ranges::equal(
          values, std::span(sink.bytes[part.shard]).subspan(part.offset, values.size())));
      CHECK(std::all_of(
          sink.writes[part.shard].begin() + at,
          sink.writes[part.shard].begin() + at + std::ssize(values),
          [](uint8_t n) { return n == 1; }));
    }
    CHECK(computed == 2);  // of one layer, and one more
  }
}

TEST_CASE("the memory it may use does not change a byte or a sum") {
  const TinySave tiny;
  const Planned planned(tiny);
  MemorySink much(planned.plan);
  MemorySink little(planned.plan);
  const PassResult a = run_pass(planned.model, planned.plan, {}, much);
  const PassResult b = run_pass(planned.model, planned.plan, {.max_memory = 1}, little);
  CHECK((much.bytes == little.bytes));
  REQUIRE(a.baked.size() == b.baked.size());
  for (const auto& [tensor, sums] : a.baked) {
    const BakeSums& other = b.baked.at(tensor);
    CHECK(sums.error.error_sq == other.error.error_sq);
    CHECK(sums.loras.at(0).cross == other.loras.at(0).cross);
    CHECK(sums.loras.at(0).norm == other.loras.at(0).norm);
  }
}

TEST_CASE("every weight file has the hash of its bytes, however little of it was read") {
  const TinySave tiny;
  const Planned planned(tiny);
  for (const bool skip : {false, true}) {
    CAPTURE(skip);
    PassOptions options;
    if (skip) options.skip_shard.assign(planned.plan.shards.size(), true);
    MemorySink sink(planned.plan);
    const PassResult result = run_pass(planned.model, planned.plan, options, sink);
    CHECK(result.input_hashes.size() == 5);  // two of the transformer
    for (const auto& [file, hash] : result.input_hashes) {
      CAPTURE(file);
      CHECK(hash == hash_file(tiny.folder / "model" / file));
    }
  }
}

TEST_CASE("skipped shards are neither read for nor written") {
  const TinySave tiny;
  const Planned planned(tiny);
  const size_t shards = planned.plan.shards.size();
  std::vector<bool> skip(shards);
  for (size_t i = 0; i < shards; i += 2) skip[i] = true;
  const uint64_t all = bytes_to_read(planned.model, planned.plan, {});
  const uint64_t half = bytes_to_read(planned.model, planned.plan, {.skip_shard = skip});
  CHECK(half < all);
  CHECK(
      bytes_to_read(planned.model, planned.plan, {.skip_shard = std::vector<bool>(shards, true)}) ==
      0);
  uint64_t read = 0;
  std::set<size_t> begun;
  std::vector<size_t> done;
  MemorySink sink(planned.plan);
  const PassOptions options{
      .skip_shard = skip,
      .on_shard_begin = [&](size_t shard) { CHECK(begun.insert(shard).second); },
      .on_shard_done = [&](size_t shard) { done.push_back(shard); },
      .on_progress = [&](uint64_t bytes) { read = bytes; }};
  MemorySink whole(planned.plan);
  run_pass(planned.model, planned.plan, {}, whole);
  run_pass(planned.model, planned.plan, options, sink);
  CHECK(read == half);
  CHECK(done.size() == shards / 2);
  for (size_t i = 0; i < shards; ++i) {
    CAPTURE(i);
    CHECK(begun.count(i) == (skip[i] ? 0 : 1));
    CHECK(std::ranges::count(done, i) == (skip[i] ? 0 : 1));
    const bool written = std::ranges::any_of(sink.writes[i], [](uint8_t n) { return n != 0; });
    CHECK(written == !skip[i]);
    if (!skip[i]) CHECK((sink.bytes[i] == whole.bytes[i]));
  }
}

TEST_CASE("a shard is done after its last byte and its tensors, once") {
  const TinySave tiny;
  const Planned planned(tiny);
  MemorySink sink(planned.plan);
  std::map<size_t, int> done;
  std::set<std::string> baked;
  const PassOptions options{
      .on_shard_done =
          [&](size_t shard) {
            ++done[shard];
            const auto& writes = sink.writes[shard];
            const uint64_t header = planned.plan.shards[shard].header.size();
            const auto written = std::ranges::count(writes, uint8_t{1});
            CHECK(static_cast<uint64_t>(written) == writes.size() - header);
          },
      .on_tensor_done =
          [&](const PlannedTensor& tensor, const BakeSums& sums) {
            CHECK(done.count(tensor.weight.shard) == 0);
            CHECK(tensor.baked());
            CHECK(sums.loras.count(0) == 1);
            CHECK(baked.insert(tensor.mapped.name).second);
          }};
  run_pass(planned.model, planned.plan, options, sink);
  CHECK(done.size() == planned.plan.shards.size());
  CHECK(std::ranges::all_of(done, [](const auto& item) { return item.second == 1; }));
  CHECK(baked.size() == 20);
}

// Notes whether it was called while it ran.
class OneAtATime {
 public:
  void operator()() {
    if (running_.exchange(true)) overlaps_ = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    running_ = false;
  }
  bool overlaps() const { return overlaps_; }

 private:
  std::atomic<bool> running_ = false;
  std::atomic<bool> overlaps_ = false;
};

TEST_CASE("what listens to a pass is never called by two threads at once") {
  const TinySave tiny;
  const Planned planned(tiny);
  REQUIRE(planned.plan.shards.size() > 5);
  OneAtATime call;
  MemorySink sink(planned.plan);
  const PassOptions options{
      .on_shard_begin = [&](size_t) { call(); },
      .on_shard_done = [&](size_t) { call(); },
      .on_tensor_done = [&](const PlannedTensor&, const BakeSums&) { call(); },
      .on_progress = [&](uint64_t) { call(); }};
  run_pass(planned.model, planned.plan, options, sink);
  CHECK_FALSE(call.overlaps());
}

TEST_CASE("an error of the sink ends the pass") {
  const TinySave tiny;
  const Planned planned(tiny);
  FailingSink sink;
  CHECK(
      contains(error_of([&] { run_pass(planned.model, planned.plan, {}, sink); }), "no room for "));
}

TEST_CASE("a pass that is told to stop ends as interrupted") {
  const TinySave tiny;
  const Planned planned(tiny);
  MemorySink sink(planned.plan);
  std::atomic<bool> stop = false;
  const PassOptions options{
      .stop = &stop, .on_progress = [&](uint64_t bytes) { stop = bytes > 500'000; }};
  try {
    run_pass(planned.model, planned.plan, options, sink);
    FAIL("not interrupted");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::interrupted);
  }
}

TEST_CASE("a source that shrinks while it is read is an error that names it") {
  const TinySave tiny;
  const Planned planned(tiny);
  const std::string file =
      tiny.path("model/transformer/diffusion_pytorch_model-00002-of-00002.safetensors");
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
  MemorySink sink(planned.plan);
  const std::string error = error_of([&] { run_pass(planned.model, planned.plan, {}, sink); });
  CHECK(contains(error, "00002-of-00002.safetensors: ends at byte"));
}

TEST_CASE("sums of parts add up, and the share kept follows from them") {
  BakeSums sums;
  sums.error = {.error_sq = 1, .exact_sq = 3, .max_error = 0.5};
  sums.loras[0] = {.cross = -1, .norm = 4};
  BakeSums other;
  other.error = {.error_sq = 3, .exact_sq = 13, .max_error = 0.25};
  other.loras[0] = {.cross = -1, .norm = 4};
  other.loras[1] = {.cross = 0, .norm = 0};
  sums.add(other);
  CHECK(sums.error.max_error == 0.5);
  CHECK(sums.relative_error() == 0.5);
  CHECK(sums.loras.at(0).kept() == 0.75);
  CHECK(sums.loras.at(1).kept() == 1);
  CHECK(BakeSums().relative_error() == 0);
}

}  // namespace
}  // namespace mflux
