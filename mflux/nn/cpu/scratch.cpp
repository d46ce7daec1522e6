// SPDX-License-Identifier: MIT
// Blocks that are free stand in a list by size, under one lock, which is taken twice for each use.
// Nothing is given back to the system: there are as many blocks as were ever in use at once.
#include "mflux/nn/cpu/scratch.h"

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

namespace mflux::nn::cpu {
namespace {

// As many blocks as were ever in use at once: a few for each thread.
class Blocks {
 public:
  // The smallest block that is large enough; without one, the largest makes way for a new one.
  Scratch::Block take(size_t size) {
    Scratch::Block block;
    {
      const std::lock_guard lock(mutex_);
      auto found = std::ranges::lower_bound(free_, size, {}, &Scratch::Block::size);
      if (found == free_.end() && !free_.empty()) --found;
      if (found != free_.end()) {
        block = std::move(*found);
        free_.erase(found);
      }
    }
    if (block.size < size) {
      block.data.reset();
      block = {std::make_unique_for_overwrite<float[]>(size), size};
    }
    return block;
  }
  void give(Scratch::Block block) {
    const std::lock_guard lock(mutex_);
    const auto place = std::ranges::upper_bound(free_, block.size, {}, &Scratch::Block::size);
    free_.insert(place, std::move(block));
  }

 private:
  std::mutex mutex_ = {};
  std::vector<Scratch::Block> free_ = {};  // by size
};

Blocks& blocks() {
  static Blocks instance;
  return instance;
}

}  // namespace

Scratch::Scratch(size_t size) : block_(blocks().take(size)) {}

Scratch::~Scratch() {
  blocks().give(std::move(block_));
}

}  // namespace mflux::nn::cpu
