// SPDX-License-Identifier: MIT
// Dividing rows among threads.
#pragma once

#include <cstddef>
#include <functional>

namespace mflux::nn::cpu {

// Calls use(begin, end) for ranges of rows of `width` floats, from several threads, until all
// `count` rows are done. Ranges are large enough to be worth a task.
void each_rows(
    size_t count, size_t width, const std::function<void(size_t begin, size_t end)>& use);

}  // namespace mflux::nn::cpu
