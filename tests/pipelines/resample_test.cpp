// SPDX-License-Identifier: MIT
#include "mflux/pipelines/resample.h"

#include <doctest/doctest.h>
#include <mlx/mlx.h>

namespace mflux {
namespace {

using pipelines::Filter;
using pipelines::resample;

mx::array levels(const mx::array& image) {
  return mx::multiply(mx::add(image, mx::array(1.0F)), mx::array(127.5F));
}

TEST_CASE("a picture of one colour keeps it in every size") {
  const mx::array grey = mx::full({7, 5, 3}, 100.0F / 127.5F - 1.0F);
  for (const Filter filter : {Filter::lanczos, Filter::bicubic}) {
    const mx::array large = resample(grey, 20, 31, filter);
    CHECK(large.shape() == mx::Shape{20, 31, 3});
    CHECK(mx::allclose(levels(large), mx::array(100.0F)).item<bool>());
    CHECK(mx::allclose(levels(resample(grey, 2, 3, filter)), mx::array(100.0F)).item<bool>());
  }
}

TEST_CASE("levels are those of Pillow") {
  // Image.fromarray([[0, 10, 200, 255]]).resize((3, 1), BICUBIC) and (6, 1), LANCZOS
  const mx::array row = mx::subtract(
      mx::divide(mx::array({0.0F, 10.0F, 200.0F, 255.0F}), mx::array(127.5F)), mx::array(1.0F));
  const mx::array image = mx::reshape(row, {1, 4, 1});
  const mx::array small = mx::flatten(levels(resample(image, 1, 3, Filter::bicubic)));
  CHECK(mx::allclose(small, mx::array({0.0F, 103.0F, 252.0F}), 0, 1e-3).item<bool>());
  const mx::array large = mx::flatten(levels(resample(image, 1, 6, Filter::lanczos)));
  CHECK(mx::allclose(large, mx::array({4.0F, 0.0F, 33.0F, 170.0F, 249.0F, 255.0F}), 0, 1e-3)
            .item<bool>());
}

}  // namespace
}  // namespace mflux
