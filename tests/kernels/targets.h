// SPDX-License-Identifier: MIT
// Runs a check once for every SIMD target that this CPU has and the kernels were compiled for.
//
//   for_each_target([&] { CHECK(kernels::all_finite(values)); });
#pragma once

#include <cstdint>
#include <string>

#include <doctest/doctest.h>
#include <hwy/highway.h>

namespace mflux::kernels::testing {

// What the dispatch of the kernels sees, until the end of the scope.
class ForcedTarget {
 public:
  explicit ForcedTarget(int64_t target) { force(target); }
  ForcedTarget(const ForcedTarget&) = delete;
  ForcedTarget& operator=(const ForcedTarget&) = delete;
  ~ForcedTarget() { force(0); }

 private:
  static void force(int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

template <typename Check>
void for_each_target(Check check) {
  const int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  REQUIRE(targets != 0);
  for (int64_t left = targets; left != 0; left &= left - 1) {
    const int64_t target = left & -left;
    const ForcedTarget forced(target);
    const std::string name = hwy::TargetName(target);
    CAPTURE(name);
    check();
  }
}

}  // namespace mflux::kernels::testing
