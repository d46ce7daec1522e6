// SPDX-License-Identifier: MIT
// Every algorithm but rotations against its formula in double: on a layer of its own, on a fused
// one, and on one whose halves are swapped.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/lora/algorithms/replacement.h"
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
using testing::LoraFile;
using testing::Matrix;
using testing::Merged;
using testing::on_every_layer;
using testing::plus;
using testing::require_clean;
using testing::transposed;
using testing::Values;

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
  const Loaded without_magnitude = load_file(c.file, flux());
  require_clean(without_magnitude);
  c.add(".dora_scale", 64, 1);
  const Loaded loaded = load_file(c.file, flux());
  require_clean(loaded);
  const Update& pair = without_magnitude.adapters.front().updates.front();
  const Update& update = loaded.adapters.front().updates.front();
  CHECK(algorithm_of(update) == "DoRA");
  Values row(kInputs);
  Values change(kInputs);
  RowScratch scratch;
  apply_to_rows(pair, prepare(pair, kInputs), {3, 1, kInputs}, row, change, scratch);
  for (size_t i = 0; i < row.size(); ++i) row[i] = -change[i];
  apply_to_rows(update, prepare(update, kInputs), {3, 1, kInputs}, row, change, scratch);
  for (const float value : row) CHECK(value == 0);
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
    CHECK(is_replacement(update));
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
