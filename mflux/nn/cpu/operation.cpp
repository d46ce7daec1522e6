// SPDX-License-Identifier: MIT
// An operation is a primitive of MLX's whose eval_cpu() hands our function to the thread of the CPU
// stream, in order with MLX's own. At most four wait there at once: the memory of their outputs is
// allocated when they are handed over.
#include "mflux/nn/cpu/operation.h"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <mlx/allocator.h>
#include <mlx/backend/cpu/encoder.h>
#include <mlx/device.h>
#include <mlx/primitives.h>
#include <mlx/stream.h>

#include "mflux/base/error.h"

namespace mflux::nn::cpu {
namespace {

// Operations that were handed to the stream's thread and are not done. MLX makes the outputs of a
// hundred steps before the first has run; the memory of those that are done would come back too
// late.
class Backlog {
 public:
  void enter() {
    std::unique_lock lock(mutex_);
    // Another stream may be what the thread waits for, so going on after a while must be possible.
    room_.wait_for(lock, std::chrono::seconds(2), [&] { return count_ < kMost; });
    ++count_;
  }
  void leave() {
    {
      const std::lock_guard lock(mutex_);
      --count_;
    }
    room_.notify_one();
  }

 private:
  static constexpr int kMost = 4;

  std::mutex mutex_ = {};
  std::condition_variable room_ = {};
  int count_ = 0;
};

Backlog& backlog() {
  static Backlog instance;
  return instance;
}

// A page fault costs as much as multiplying thousands of numbers: large outputs ask for large
// pages.
mx::allocator::Data allocate(size_t bytes) {
  mx::allocator::Data data = mx::allocator::malloc(bytes);
#if defined(__linux__)
  constexpr uintptr_t kPage = 4096;
  constexpr size_t kLarge = size_t{8} << 20;
  if (bytes >= kLarge) {
    mx::allocator::Buffer buffer = data.buffer();
    const uintptr_t begin = reinterpret_cast<uintptr_t>(buffer.raw_ptr()) & ~(kPage - 1);
    // Advice only: where it is not taken, pages are small.
    ::madvise(reinterpret_cast<void*>(begin), bytes / kPage * kPage, MADV_HUGEPAGE);
  }
#endif
  return data;
}

class Operation : public mx::UnaryPrimitive {
 public:
  Operation(mx::Stream stream, std::string name, Compute compute)
      : UnaryPrimitive(stream),
        name_(std::move(name)),
        compute_(std::make_shared<const Compute>(std::move(compute))) {}

  void eval_cpu(const std::vector<mx::array>& inputs, mx::array& out) override {
    backlog().enter();
    out.set_data(allocate(out.nbytes()));
    // MLX keeps the data of inputs until what was dispatched here is done.
    std::vector<mx::array> views;
    for (const mx::array& input : inputs) views.push_back(mx::array::unsafe_weak_copy(input));
    const std::span<float> result(out.data<float>(), out.size());
    auto& encoder = mx::cpu::get_command_encoder(stream());
    encoder.dispatch([views = std::move(views), result, compute = compute_] {
      struct Leave {
        ~Leave() { backlog().leave(); }
      } leave;
      if (!result.empty()) (*compute)(views, result);
    });
  }
  void eval_gpu(const std::vector<mx::array>&, mx::array&) override {
    fail("{} is an operation of the CPU", name_);
  }
  const char* name() const override { return name_.c_str(); }

 private:
  std::string name_;
  std::shared_ptr<const Compute> compute_;
};

}  // namespace

mx::array operation(
    std::string name, const mx::Shape& shape, std::vector<mx::array> inputs, Compute compute) {
  const mx::Stream stream = mx::default_stream(mx::Device::cpu);
  auto primitive = std::make_shared<Operation>(stream, std::move(name), std::move(compute));
  return mx::array(shape, mx::float32, std::move(primitive), std::move(inputs));
}

bool on_cpu() {
  return mx::default_device() == mx::Device::cpu;
}

}  // namespace mflux::nn::cpu
