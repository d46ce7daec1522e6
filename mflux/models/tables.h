// SPDX-License-Identifier: MIT
// The form of a model family's tables. Facts only: which layers there are, what each naming calls
// them, how their shapes hang together. Numbers of blocks and widths are never here; they are read
// from the headers.
//
// In a name, {} stands for a block number. In a shape, a lower-case letter is a width that is the
// same in the whole component, an upper-case letter one that is the same within a block, * is any
// width: "6h h", "h h+m".
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "mflux/lora/family.h"
#include "mflux/models/known_model.h"
#include "mflux/tokenizer/kind.h"

namespace mflux::models {

enum class Kind : uint8_t {
  linear,
  embedding,
  norm,      // one value per channel
  gamma3d,   // (channels, 1, 1), a vector in mflux
  gamma4d,   // (channels, 1, 1, 1), a vector in mflux
  conv2d,    // (out, in, h, w), channels last in mflux
  conv3d,    // (out, in, t, h, w), channels last in mflux
  constant,  // a computed tensor that some files hold; the layer's name is the tensor's
};

struct Layer {
  std::string_view name;  // below its block: "attn.to_q"
  Kind kind = Kind::linear;
  std::string_view shape = {};  // of the weight; the bias has the first of its dimensions
  bool bias = true;
  bool optional = false;
  std::string_view mflux = {};  // its name there; empty: the same
};

enum class Keep : uint8_t {
  always,
  diffusers_only,  // Python mflux has no such tensors: left out of its naming
  original_only,   // a marker that only single files hold
};

struct Block {
  std::string_view name;  // "transformer_blocks.{}"; empty: the layers stand alone
  std::span<const Layer> layers;
  bool optional = false;  // if it is there at all, it is complete
  Keep keep = Keep::always;
  std::string_view mflux = {};  // its name there; empty: the same
  // The mflux name has a {} of its own: a copy in each of the blocks of this (canonical) name.
  std::string_view copied_into = {};
  // A flat list of stages: {} counts through the resnets and the resample that ends a stage. In
  // mflux's name the first {} is the stage, the second the resnet within it.
  bool flat = false;
  int mflux_skips_stage = -1;  // mflux has these layers, but not in this stage
  // If set, there is one in each block of this (canonical) name but the last.
  std::string_view between = {};
};

// How the rows of a layer in a foreign naming are made of the rows of its parts.
enum class Rows : uint8_t {
  equal,         // one after the other, all the same number
  square_first,  // one after the other; each but the last has as many rows as the layer has columns
  swapped,       // one part, its second half first
};

struct Composite {
  std::string_view name;
  std::array<std::string_view, 4> parts;  // canonical layers in row order; the unused are empty
  Rows rows = Rows::equal;
  bool scale = false;  // the weight is called "scale"; "weight" is read too
};

// `other` may stand for `canonical` at the beginning of a name.
struct Respelling {
  std::string_view canonical;
  std::string_view other;
};

// A second tensor with the values of `original`, which may also stand alone in its place.
struct Twin {
  std::string_view name;
  std::string_view original;
};

// What a value of config.json says of the tensors.
enum class Says : uint8_t {
  width,       // a dimension of `what`, a layer's weight, divided as below
  square,      // the root of it
  divisor,     // a number that divides it
  parts,       // a list of numbers that add up to it
  even_parts,  // the same, each of them even
  values,      // a list of as many numbers
  widths,      // a list: that of the first layer in each block
  reversed,    // the same, the last block first
  depth,       // how many blocks `what` there are
  inner,       // how many layers `what` the first block has
  indices,     // nothing: a list of whole numbers
  flag,        // whether the layer `what` is there; of none, false
  constant,    // `per`, and no other number
  count,       // nothing: any number above 0
  number,      // nothing: any number
  boolean,     // nothing: true or false
  word,        // nothing: one of the words in `what`
};

// A key of config.json, checked where the file has it.
struct Statement {
  std::string_view key;  // below text_config or, where there is none, at the top; a/b is b within a
  Says says = Says::width;
  std::string_view what = {};
  size_t dimension = 0;  // in diffusers' order
  // The dimension is divided by `per`, by one of `over` and by the value of the key `by`, and
  // multiplied with that of the key `times`.
  uint64_t per = 1;
  std::string_view over = {};
  size_t over_dimension = 0;
  std::string_view by = {};
  std::string_view times = {};
  uint64_t more = 0;  // inner layers that no value counts
  bool may_be_null = false;
};

// Layers that stay at `bits` when `asked` bits are asked for.
struct BitsException {
  std::string_view layer;  // canonical
  int asked = 0;
  int bits = 0;
};

// Tensors of mflux's naming alone, one in each block of this canonical name: rotary frequencies
// (frequencies.h).
struct Frequencies {
  std::string_view name;  // in mflux's naming
  std::string_view block;
  std::string_view section = {};  // of config.json; empty: that of the language model
  uint64_t divisor = 1;           // of a head's width
  double base = 10'000;           // unless config.json has another
};
constexpr uint64_t kMostHeadWidth = 65'536;

// A width of the published model.
struct PublishedWidth {
  char letter;  // of the shapes
  uint64_t value;
  char follows = 0;  // a letter with which it grows and shrinks
};
struct PublishedDepth {
  std::string_view block;  // "transformer_blocks.{}"
  uint64_t count;
};

struct Component {
  std::string_view name;
  // config.json's, by which the family is known.
  std::string_view class_name = {};
  std::span<const Block> blocks = {};
  // Comes as one file with original names too.
  bool single_file = false;
  // Those names; empty: the canonical ones.
  std::span<const Composite> original = {};
  // Further names that LoRAs use.
  std::span<const Composite> aliases = {};
  std::span<const Respelling> respellings = {};
  std::span<const Twin> twins = {};
  // Patterns of what no naming of ours has; * ends a prefix.
  std::span<const std::string_view> ignored = {};
  std::span<const Statement> config = {};
  std::span<const Frequencies> frequencies = {};
  // Saved as BF16 by mflux, else in the source's dtype.
  bool mflux_bf16 = true;
  // Linear layers and embeddings are.
  bool quantized = true;
  std::span<const BitsException> exceptions = {};
  // Stand in where there is only a LoRA (published.h); none of a VAE, which no LoRA changes.
  std::span<const PublishedWidth> published_widths = {};
  std::span<const PublishedDepth> published_depths = {};
};

// A dimension of a layer's weight.
struct WidthOf {
  std::string_view component;
  std::string_view layer;
  size_t dimension = 0;
};
// Two that are the same, or the pipelines cannot make a picture.
struct Agreement {
  WidthOf one;
  WidthOf other;
};
// One that the pipelines know with these values only; the unused are 0.
struct KnownWidth {
  WidthOf width;
  std::array<uint64_t, 3> values;
};

// What a folder of the model must hold for the text encoder beside it.
struct PromptTokenizer {
  std::string_view folder;
  tokenizer::Kind kind;
  std::string_view title;  // whose it is, for messages: "CLIP's"
};

// What its transformer tells of a model's kind: a layer that is there, with so many columns if
// `columns` is not 0.
struct Release {
  std::string_view title;
  std::string_view tensor;
  uint64_t columns = 0;
};

struct Family {
  // Of the family: "qwen"; and of this member: "qwen-edit".
  std::string_view name;
  std::string_view variant;
  // For people.
  std::string_view title;
  // In the order they are saved.
  std::span<const Component* const> components;
  // Folders that hold no tensors; of them the tokenizers, without which there is no prompt.
  std::span<const std::string_view> copied = {};
  std::span<const PromptTokenizer> tokenizers = {};
  // What tells this variant from the others: a part of model_index.json's class name, a block that
  // in mflux's naming only this one has, a key of the transformer's config.json that is true.
  std::string_view pipeline = {};
  std::string_view evidence = {};
  std::string_view evidence_key = {};
  std::span<const Agreement> agreements = {};
  std::span<const KnownWidth> known_widths = {};
  // Numbers in scheduler_config.json that the steps are computed from; none: they are not.
  std::span<const std::string_view> schedule = {};
  std::span<const KnownModel> models = {};
  // The first that fits; none at all: the variant's name tells.
  std::span<const Release> releases = {};
  const lora::Family* lora_family = nullptr;
};

}  // namespace mflux::models
