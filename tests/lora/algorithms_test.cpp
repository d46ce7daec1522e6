// SPDX-License-Identifier: MIT
// Every algorithm against its formula in double: on a layer of its own, on a fused one, and on one
// whose halves are swapped.
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/lora/rotation.h"
#include "tests/lora/merging.h"

namespace mflux::lora {
namespace {

using testing::check_close;
using testing::flux;
using testing::load_file;
using testing::LoraFile;
using testing::Matrix;
using testing::Merged;
using testing::plus;
using testing::require_clean;
using testing::slice;
using testing::transposed;
using testing::Values;

struct Layer {
  std::string module;
  std::string alias;
  uint64_t outputs;
};
constexpr uint64_t kInputs = 64;
const std::vector<Layer> kLayers = {
    {"transformer.single_transformer_blocks.0.proj_mlp",
     "single_transformer_blocks.0.proj_mlp",
     192},
    {"lora_unet_double_blocks_0_img_attn_qkv", "double_blocks.0.img_attn.qkv", 192},
    {"lora_unet_final_layer_adaLN_modulation_1", "final_layer.adaLN_modulation.1", 128}};

// A file for one layer, and the new weight from the old.
struct Case {
  const Layer& layer;
  LoraFile file = {};

  Matrix add(const std::string& ending, uint64_t rows, uint64_t columns) {
    return {rows, columns, file.add(layer.module + ending, {rows, columns})};
  }
  void alpha(double value) { file.add_value(layer.module + ".alpha", static_cast<float>(value)); }

  void expect(double scale, const std::function<Matrix(const Matrix&)>& formula) {
    CAPTURE(layer.module);
    const Loaded loaded = load_file(file, flux(), scale);
    require_clean(loaded);
    for (const KeyRecord& key : loaded.adapters.front().keys) CHECK(key.used);
    Merged merged(loaded, flux());
    check_close(merged.of(layer.alias), formula(merged.before(layer.alias)));
    CHECK(merged.misreported() < 1e-5);
  }
};

void on_every_layer(const std::function<void(Case&)>& body) {
  for (const Layer& layer : kLayers) {
    Case one{layer};
    body(one);
  }
}

Matrix hadamard(const Matrix& a, const Matrix& b) {
  Matrix result = a;
  for (size_t i = 0; i < a.values.size(); ++i) result.values[i] *= b.values[i];
  return result;
}

Matrix kronecker(const Matrix& a, const Matrix& b) {
  Matrix result(a.rows * b.rows, a.columns * b.columns);
  for (uint64_t i = 0; i < result.rows; ++i) {
    for (uint64_t j = 0; j < result.columns; ++j) {
      result(i, j) = a(i / b.rows, j / b.columns) * b(i % b.rows, j % b.columns);
    }
  }
  return result;
}

// W + m (V |mag| / |V| - W), norms over rows (axis 0) or columns.
Matrix dora(const Matrix& w, const Matrix& v, const Matrix& magnitude, bool per_input, double m) {
  Matrix result = w;
  const Matrix along = per_input ? transposed(v) : v;
  for (uint64_t i = 0; i < w.rows; ++i) {
    for (uint64_t j = 0; j < w.columns; ++j) {
      const uint64_t line = per_input ? j : i;
      double square = 0;
      for (uint64_t k = 0; k < along.columns; ++k) square += along(line, k) * along(line, k);
      const double scaled = v(i, j) * magnitude.values[line] / std::sqrt(square);
      result(i, j) += m * (scaled - w(i, j));
    }
  }
  return result;
}

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

TEST_CASE("LoCon's core stands between the two matrices") {
  on_every_layer([](Case& c) {
    const Matrix down = c.add(".lora_down.weight", 4, kInputs);
    const Matrix up = c.add(".lora_up.weight", c.layer.outputs, 3);
    const Matrix core = c.add(".lora_mid.weight", 3, 4);
    c.alpha(2);
    c.expect(0.5, [&](const Matrix& w) { return plus(w, up * core * down, 0.5 * 2 / 4); });
  });
}

TEST_CASE("LoHa is the product of two pairs, element by element") {
  on_every_layer([](Case& c) {
    const Matrix a1 = c.add(".hada_w1_a", c.layer.outputs, 3);
    const Matrix b1 = c.add(".hada_w1_b", 3, kInputs);
    const Matrix a2 = c.add(".hada_w2_a", c.layer.outputs, 3);
    const Matrix b2 = c.add(".hada_w2_b", 3, kInputs);
    c.alpha(1.5);
    c.expect(
        -2, [&](const Matrix& w) { return plus(w, hadamard(a1 * b1, a2 * b2), -2 * 1.5 / 3); });
  });
}

TEST_CASE("LoHa with cores has its left factors flipped") {
  on_every_layer([](Case& c) {
    const Matrix a1 = c.add(".hada_w1_a", 3, c.layer.outputs);
    const Matrix b1 = c.add(".hada_w1_b", 3, kInputs);
    const Matrix a2 = c.add(".hada_w2_a", 3, c.layer.outputs);
    const Matrix b2 = c.add(".hada_w2_b", 3, kInputs);
    const Matrix t1 = c.add(".hada_t1", 3, 3);
    const Matrix t2 = c.add(".hada_t2", 3, 3);
    c.expect(1, [&](const Matrix& w) {
      return plus(w, hadamard(transposed(a1) * t1 * b1, transposed(a2) * t2 * b2));
    });
  });
}

TEST_CASE("LoKr is a Kronecker product of factors that are whole or not") {
  for (const bool first_whole : {true, false}) {
    for (const bool second_whole : {true, false}) {
      CAPTURE(first_whole);
      CAPTURE(second_whole);
      on_every_layer([&](Case& c) {
        const uint64_t rows = c.layer.outputs / 8;
        const auto factor = [&](const std::string& name, bool whole, uint64_t r, uint64_t k) {
          if (whole) return c.add(name, r, k);
          const Matrix left = c.add(name + "_a", r, 2);
          return left * c.add(name + "_b", 2, k);
        };
        const Matrix first = factor(".lokr_w1", first_whole, 8, 4);
        const Matrix second = factor(".lokr_w2", second_whole, rows, 16);
        c.alpha(3);
        const double scale = first_whole && second_whole ? 1 : 3.0 / 2;
        c.expect(
            0.5, [&](const Matrix& w) { return plus(w, kronecker(first, second), 0.5 * scale); });
      });
    }
  }
}

TEST_CASE("LoKr of whole factors reads no alpha, not even an infinite one") {
  Case c{kLayers.front()};
  const Matrix first = c.add(".lokr_w1", 8, 4);
  const Matrix second = c.add(".lokr_w2", 24, 16);
  c.alpha(std::numeric_limits<double>::infinity());
  c.expect(1, [&](const Matrix& w) { return plus(w, kronecker(first, second)); });
}

TEST_CASE("PEFT's LoKr scales whole factors by the rank of its configuration") {
  Case c{kLayers.front()};
  const Matrix first = c.add(".lokr_w1", 8, 4);
  const Matrix second = c.add(".lokr_w2", 24, 16);
  c.file.metadata["lora_adapter_metadata"] = R"({"peft_type": "LOKR", "r": 8, "alpha": 2})";
  c.expect(1, [&](const Matrix& w) { return plus(w, kronecker(first, second), 2.0 / 8); });
}

TEST_CASE("LoKr's second factor may have a core") {
  on_every_layer([](Case& c) {
    const Matrix first = c.add(".lokr_w1", 8, 4);
    const Matrix left = c.add(".lokr_w2_a", 2, c.layer.outputs / 8);
    const Matrix right = c.add(".lokr_w2_b", 2, 16);
    const Matrix core = c.add(".lokr_t2", 2, 2);
    c.expect(1, [&](const Matrix& w) {
      return plus(w, kronecker(first, transposed(left) * core * right));
    });
  });
}

TEST_CASE("DoRA gives every row or column of the sum its magnitude") {
  struct Axis {
    std::string ending;
    bool per_input;
    bool is_vector;
  };
  const std::vector<Axis> axes = {
      {".dora_scale", false, false},
      {".lora_magnitude_vector", false, true},
      {".magnitude", false, true},
      {".dora_scale", true, false}};
  for (const Axis& axis : axes) {
    CAPTURE(axis.ending);
    on_every_layer([&](Case& c) {
      const Matrix down = c.add(".lora_down.weight", 4, kInputs);
      const Matrix up = c.add(".lora_up.weight", c.layer.outputs, 4);
      c.alpha(2);
      const uint64_t size = axis.per_input ? kInputs : c.layer.outputs;
      const Shape shape = axis.is_vector   ? Shape{size}
                          : axis.per_input ? Shape{1, size}
                                           : Shape{size, 1};
      const Matrix length(size, 1, c.file.add(c.layer.module + axis.ending, shape));
      c.expect(0.75, [&](const Matrix& w) {
        return dora(w, plus(w, up * down, 2.0 / 4), length, axis.per_input, 0.75);
      });
    });
  }
}

TEST_CASE("DoRA stands on LoHa and LoKr too") {
  for (const bool per_input : {false, true}) {
    CAPTURE(per_input);
    on_every_layer([&](Case& c) {
      const Matrix first = c.add(".lokr_w1", 8, 4);
      const Matrix second = c.add(".lokr_w2", c.layer.outputs / 8, 16);
      const uint64_t size = per_input ? kInputs : c.layer.outputs;
      const Matrix length =
          per_input ? c.add(".dora_scale", 1, size) : c.add(".dora_scale", size, 1);
      c.expect(1, [&](const Matrix& w) {
        return dora(w, plus(w, kronecker(first, second)), length, per_input, 1);
      });
    });
    on_every_layer([&](Case& c) {
      const Matrix a1 = c.add(".hada_w1_a", c.layer.outputs, 2);
      const Matrix b1 = c.add(".hada_w1_b", 2, kInputs);
      const Matrix a2 = c.add(".hada_w2_a", c.layer.outputs, 2);
      const Matrix b2 = c.add(".hada_w2_b", 2, kInputs);
      c.alpha(4);
      const uint64_t size = per_input ? kInputs : c.layer.outputs;
      const Matrix length =
          per_input ? c.add(".dora_scale", 1, size) : c.add(".dora_scale", size, 1);
      c.expect(-1, [&](const Matrix& w) {
        return dora(w, plus(w, hadamard(a1 * b1, a2 * b2), 4.0 / 2), length, per_input, -1);
      });
    });
  }
}

TEST_CASE("a row that DoRA finds empty stays so") {
  const Layer layer{"x_embedder", "x_embedder", 64};
  Case c{layer};
  c.add(".lora_A.weight", 1, kInputs);
  c.add(".lora_B.weight", 64, 1);
  c.add(".dora_scale", 64, 1);
  const Loaded loaded = load_file(c.file, flux());
  require_clean(loaded);
  const Update& update = loaded.adapters.front().updates.front();
  const Prepared prepared = prepare(update, kInputs);
  Values change(kInputs);
  RowScratch scratch;
  change_of(
      std::get<LowRank>(std::get<Dora>(update).change), prepared, {3, 1, kInputs}, change, scratch);
  Values row(kInputs);
  for (size_t i = 0; i < row.size(); ++i) row[i] = -change[i];
  apply_to_rows(update, prepared, {3, 1, kInputs}, row, change, scratch);
  for (const float value : row) CHECK(value == 0);
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

TEST_CASE("GLoRA multiplies the weight and adds, in both of its orders") {
  for (const bool is_old : {false, true}) {
    CAPTURE(is_old);
    on_every_layer([&](Case& c) {
      const Matrix a1 = is_old ? c.add(".a2.weight", kInputs, 3) : c.add(".a1.weight", kInputs, 3);
      const Matrix a2 = is_old ? c.add(".a1.weight", 3, kInputs) : c.add(".a2.weight", 3, kInputs);
      const uint64_t rows = c.layer.outputs;
      const Matrix b1 = is_old ? c.add(".b2.weight", rows, 3) : c.add(".b1.weight", rows, 3);
      const Matrix b2 = is_old ? c.add(".b1.weight", 3, kInputs) : c.add(".b2.weight", 3, kInputs);
      c.alpha(6);
      c.expect(
          0.25, [&](const Matrix& w) { return plus(w, plus(w * a1 * a2, b1 * b2), 0.25 * 6 / 3); });
    });
  }
}

TEST_CASE("IA3 stretches inputs or outputs") {
  for (const bool per_input : {false, true}) {
    on_every_layer([&](Case& c) {
      const uint64_t size = per_input ? kInputs : c.layer.outputs;
      const Values factors = c.file.add(c.layer.module + ".weight", {size});
      c.file.add_value(c.layer.module + ".on_input", per_input ? 1 : 0);
      c.expect(0.5, [&](const Matrix& w) {
        Matrix result = w;
        for (uint64_t i = 0; i < w.rows; ++i) {
          for (uint64_t j = 0; j < kInputs; ++j) {
            result(i, j) *= 1 + 0.5 * static_cast<double>(factors[per_input ? j : i]);
          }
        }
        return result;
      });
    });
  }
}

TEST_CASE("a new value counts whatever the scale") {
  for (const std::string ending : {".set_weight", ".weight"}) {
    for (const double scale : {1.0, 0.0, -3.0}) {
      on_every_layer([&](Case& c) {
        const Matrix value = c.add(ending, c.layer.outputs, kInputs);
        c.expect(scale, [&](const Matrix&) { return value; });
      });
    }
  }
}

TEST_CASE("new values come after the matrices of the module, and reach norms and biases") {
  LoraFile file;
  const std::string module = "double_blocks.0.img_attn.qkv";
  file.add(module + ".bias", {192});
  file.add("double_blocks.0.img_attn.norm.query_norm.scale", {16});
  file.add("double_blocks.0.img_attn.norm.key_norm.scale.set_weight", {16});
  file.add("final_layer.adaLN_modulation.1.bias.set_weight", {128});
  const Loaded loaded = load_file(file, flux(), 0.5);
  require_clean(loaded);
  for (const Update& update : loaded.adapters.front().updates) {
    CHECK(std::holds_alternative<Replacement>(update));
    CHECK(has_effect(update));
  }
  Merged merged(loaded, flux());
  const std::string norm = "double_blocks.0.img_attn.norm.query_norm";
  check_close(merged.of(norm), {16, 1, testing::numbers(norm + ".scale", 16)});
  CHECK(depends_on_order(loaded.adapters.front()));
}

TEST_CASE("the order of LoRAs counts where they are no sums") {
  const std::string alias = "single_transformer_blocks.0.proj_mlp";
  const testing::TempDir folder;
  LoraFile plain;
  const Values down = plain.add(alias + ".lora_A.weight", {2, kInputs});
  const Values up = plain.add(alias + ".lora_B.weight", {192, 2});
  LoraFile stretch;
  const Values factors = stretch.add(alias + ".weight", {192});
  stretch.add_value(alias + ".on_input", 0);
  const std::vector<LoraSpec> specs = {
      {.file = plain.write(folder, "plain.safetensors")},
      {.file = stretch.write(folder, "stretch.safetensors")}};
  const auto stretched = [&](Matrix w) {
    for (uint64_t i = 0; i < w.rows; ++i) {
      for (uint64_t j = 0; j < w.columns; ++j) w(i, j) *= 1 + static_cast<double>(factors[i]);
    }
    return w;
  };
  const Matrix change = Matrix(192, 2, up) * Matrix(2, kInputs, down);
  const Loaded first = load(specs, flux());
  Merged merged(first, flux());
  check_close(merged.of(alias), stretched(plus(merged.before(alias), change)));
  CHECK(std::ranges::any_of(first.notes, [](const std::string& note) {
    return testing::contains(note, "another order of the LoRAs gives other weights");
  }));
  const std::vector<LoraSpec> reversed = {specs[1], specs[0]};
  const Loaded second = load(reversed, flux());
  Merged other(second, flux());
  check_close(other.of(alias), plus(stretched(other.before(alias)), change));
}

TEST_CASE("of two LoRAs that replace a tensor the last counts, with a word") {
  const testing::TempDir folder;
  LoraFile file;
  file.add("x_embedder.set_weight", {64, 64});
  const std::vector<LoraSpec> specs = {
      {.file = file.write(folder, "a.safetensors")}, {.file = file.write(folder, "b.safetensors")}};
  const Loaded loaded = load(specs, flux());
  CHECK(std::ranges::any_of(loaded.notes, [](const std::string& note) {
    return testing::contains(note, "replaces what was replaced before; the last counts");
  }));
}

}  // namespace
}  // namespace mflux::lora
