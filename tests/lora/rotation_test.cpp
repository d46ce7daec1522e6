// SPDX-License-Identifier: MIT
// Rotations (OFT, BOFT) against their formulas in double.
#include "mflux/lora/algorithms/rotation.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/lora/every_layer.h"

namespace mflux::lora {
namespace {

using testing::Case;
using testing::check_close;
using testing::flux;
using testing::kInputs;
using testing::kLayers;
using testing::Layer;
using testing::load_file;
using testing::Matrix;
using testing::on_every_layer;
using testing::plus;
using testing::slice;
using testing::transposed;
using testing::Values;

Matrix identity(uint64_t size) {
  Matrix result(size, size);
  for (uint64_t i = 0; i < size; ++i) result(i, i) = 1;
  return result;
}

// Checked by what it has to fulfil: R (I - Q) = I + Q.
Matrix cayley_of(const Matrix& q) {
  Matrix r(q.rows, q.rows);
  cayley(q.values, q.rows, r.values);
  check_close(r * plus(identity(q.rows), q, -1), plus(identity(q.rows), q));
  return r;
}

TEST_CASE("Cayley's map of a quarter turn is a half turn's half") {
  // R = (I + Q) (I - Q)^-1 turns by twice the arc tangent: here by a right angle.
  const std::vector<double> q = {0, 1, -1, 0};
  std::vector<double> r(4);
  cayley(q, 2, r);
  CHECK(r == std::vector<double>{0, 1, -1, 0});
}

TEST_CASE("Neumann's series is cut as PEFT cuts it") {
  const std::vector<double> q = {0, 0.5, -0.5, 0};  // q^2 = -I / 4
  const auto series = [&](uint64_t terms) {
    std::vector<double> r(4);
    neumann(q, 2, terms, r);
    return r;
  };
  CHECK(series(1) == std::vector<double>{1, 0, 0, 1});
  CHECK(series(2) == std::vector<double>{1, 1, -1, 1});
  // I + 2 Q + 2 Q^2 + Q^3
  CHECK(series(3) == std::vector<double>{0.5, 0.875, -0.875, 0.5});
  CHECK(series(4) == series(3));
  // I + 2 Q + 2 Q^2 + 2 Q^3 + Q^4
  CHECK(series(5) == std::vector<double>{0.5625, 0.75, -0.75, 0.5625});
}

// Blocks of a file, and what they multiply their rows with.
std::vector<Matrix> rotations(const Values& blocks, uint64_t size, double strength, double limit) {
  std::vector<Matrix> skew;
  double square = 0;
  for (size_t begin = 0; begin < blocks.size(); begin += size * size) {
    Matrix q(size, size);
    for (uint64_t i = 0; i < size; ++i) {
      for (uint64_t j = 0; j < size; ++j) {
        q(i, j) = static_cast<double>(blocks[begin + i * size + j]) -
                  static_cast<double>(blocks[begin + j * size + i]);
        square += q(i, j) * q(i, j);
      }
    }
    skew.push_back(q);
  }
  const double shrink = limit > 0 ? std::min(1.0, limit / std::sqrt(square)) : 1;
  for (Matrix& q : skew) {
    for (double& value : q.values) value *= shrink;
    Matrix r = cayley_of(q);
    for (double& value : r.values) value *= strength;
    q = plus(r, identity(size), 1 - strength);
  }
  return skew;
}

Matrix rotate_rows(const Matrix& w, const std::vector<Matrix>& turns) {
  Matrix result = w;
  uint64_t row = 0;
  for (const Matrix& r : turns) {
    const Matrix part = transposed(r) * slice(w, row, r.rows);
    std::ranges::copy(
        part.values, result.values.begin() + static_cast<std::ptrdiff_t>(row * w.columns));
    row += r.rows;
  }
  return result;
}

TEST_CASE("LyCORIS's OFT turns groups of rows, within its limit, and rescales them") {
  for (const double alpha : {0.0, 0.01}) {
    for (const double strength : {1.0, 0.5}) {
      CAPTURE(alpha);
      CAPTURE(strength);
      on_every_layer([&](Case& c) {
        const uint64_t rows = c.layer.outputs;
        const Values blocks = c.file.add(c.layer.module + ".oft_blocks", {rows / 16, 16, 16});
        const Matrix rescale = c.add(".rescale", rows, 1);
        c.alpha(alpha);
        c.expect(strength, [&](const Matrix& w) {
          Matrix result =
              rotate_rows(w, rotations(blocks, 16, strength, alpha * static_cast<double>(rows)));
          for (uint64_t i = 0; i < rows; ++i) {
            for (uint64_t j = 0; j < kInputs; ++j) result(i, j) *= rescale(i, 0);
          }
          return result;
        });
      });
    }
  }
}

TEST_CASE("at strength 0 OFT still rescales, and is nothing without") {
  Case c{kLayers.front()};
  c.file.add(c.layer.module + ".oft_blocks", {12, 16, 16});
  CHECK_FALSE(has_effect(load_file(c.file, flux(), 0).adapters.front().updates.front()));
  c.add(".rescale", 192, 1);
  CHECK(has_effect(load_file(c.file, flux(), 0).adapters.front().updates.front()));
}

TEST_CASE("BOFT turns on ever wider orders of the rows") {
  on_every_layer([](Case& c) {
    const uint64_t rows = c.layer.outputs;
    const Values blocks = c.file.add(c.layer.module + ".oft_blocks", {3, rows / 8, 8, 8});
    c.expect(1, [&](const Matrix& w) {
      Matrix now = w;
      const std::vector<Matrix> turns = rotations(blocks, 8, 1, 0);
      for (uint64_t stage = 0; stage < 3; ++stage) {
        // (c, 2, k) -> (c, k, 2), as LyCORIS folds it.
        const uint64_t k = (uint64_t{1} << stage) * 4;
        std::vector<uint64_t> order;
        for (uint64_t group = 0; group < rows / (2 * k); ++group) {
          for (uint64_t i = 0; i < k; ++i) {
            for (uint64_t half = 0; half < 2; ++half) order.push_back(group * 2 * k + half * k + i);
          }
        }
        Matrix next(rows, kInputs);
        for (uint64_t i = 0; i < rows; ++i) {
          const Matrix& r = turns[stage * (rows / 8) + i / 8];
          for (uint64_t n = 0; n < 8; ++n) {
            for (uint64_t j = 0; j < kInputs; ++j) {
              next(order[i], j) += r(i % 8, n) * now(order[i / 8 * 8 + n], j);
            }
          }
        }
        now = next;
      }
      return now;
    });
  });
}

TEST_CASE("kohya's OFT has a stack of blocks and a limit for each part of a fused layer") {
  const Layer layer{"oft_unet_double_blocks_0_img_attn_qkv", "double_blocks.0.img_attn.qkv", 192};
  Case c{layer};
  std::vector<Values> parts;
  for (const std::string number : {"0", "1", "2"}) {
    parts.push_back(c.file.add(layer.module + ".oft_blocks." + number, {4, 16, 16}));
  }
  c.alpha(0.02);
  c.expect(1, [&](const Matrix& w) {
    Matrix result(192, kInputs);
    for (uint64_t i = 0; i < 3; ++i) {
      const Matrix part = rotate_rows(slice(w, i * 64, 64), rotations(parts[i], 16, 1, 0.02 * 64));
      std::ranges::copy(
          part.values, result.values.begin() + static_cast<std::ptrdiff_t>(i * 64 * kInputs));
    }
    return result;
  });
}

struct InputOft {
  std::string metadata;
  bool is_scaled;
  uint64_t stored;  // blocks
  uint64_t terms;   // 0: exact
};

TEST_CASE("PEFT's and OneTrainer's OFT turns groups of columns") {
  const std::vector<InputOft> kinds = {
      {"", false, 8, 5},
      {"", true, 8, 5},
      {R"({"peft_type": "OFT", "use_cayley_neumann": false, "r": 0})", false, 8, 0},
      {R"({"peft_type": "OFT", "use_cayley_neumann": true, "num_cayley_neumann_terms": 3})",
       false,
       8,
       3},
      {R"({"peft_type": "OFT", "use_cayley_neumann": false})", false, 1, 0}};
  for (const InputOft& kind : kinds) {
    CAPTURE(kind.metadata);
    on_every_layer([&](Case& c) {
      const Matrix stored = c.add(".oft_R.weight", kind.stored, 28);
      if (kind.is_scaled) c.file.add_value(c.layer.module + ".oft_R.scaled_oft", 1);
      if (!kind.metadata.empty()) c.file.metadata["lora_adapter_metadata"] = kind.metadata;
      c.expect(1, [&](const Matrix& w) {
        Matrix result(w.rows, kInputs);
        for (uint64_t block = 0; block < 8; ++block) {
          Matrix q(8, 8);
          uint64_t at = 0;
          for (uint64_t i = 0; i < 8; ++i) {
            for (uint64_t j = i + 1; j < 8; ++j) {
              q(i, j) = stored(block % kind.stored, at++);
              if (kind.is_scaled) q(i, j) /= 2 * std::sqrt(7.0);
              q(j, i) = -q(i, j);
            }
          }
          Matrix r(8, 8);
          if (kind.terms == 0) {
            Matrix minus(8, 8);
            r = cayley_of(plus(minus, q, -1));
          } else {
            neumann(q.values, 8, kind.terms, r.values);
          }
          for (uint64_t i = 0; i < w.rows; ++i) {
            for (uint64_t p = 0; p < 8; ++p) {
              for (uint64_t n = 0; n < 8; ++n) {
                result(i, block * 8 + p) += w(i, block * 8 + n) * r(p, n);
              }
            }
          }
        }
        return result;
      });
    });
  }
}

TEST_CASE("a rotation of the inputs has one strength, and no projection") {
  Case c{kLayers.front()};
  c.add(".oft_R.weight", 8, 28);
  const Problem strength = testing::only_problem(load_file(c.file, flux(), 0.5));
  CHECK(strength.kind == ProblemKind::oft_strength);
  CHECK(testing::contains(strength.message, "has no meaning at scale 0.5: use 1"));
  c.file.metadata["lora_adapter_metadata"] = R"({"peft_type": "OFT", "coft": true})";
  const Problem projected = testing::only_problem(load_file(c.file, flux()));
  CHECK(testing::contains(projected.message, "coft"));
}

}  // namespace
}  // namespace mflux::lora
