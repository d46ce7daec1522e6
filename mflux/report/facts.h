// SPDX-License-Identifier: MIT
// What a report is asked for, and what it says: the page shows nothing that is not in here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mflux/bake/receipt.h"
#include "mflux/base/tensor.h"

namespace mflux {

struct ReportOptions {
  std::filesystem::path folder = {};                 // saved by this program, with a bake.json
  std::optional<std::filesystem::path> images = {};  // COLUMN/NAME.png, the same NAMEs in each
  std::vector<std::string> columns = {};             // in this order; empty: all, sorted
  std::string reference = {};                        // the others are compared to it; "": the first
};

// Where a tensor stands: "transformer", "transformer_blocks", 3, "attn.to_q.weight".
struct TensorPlace {
  std::string component = {};
  std::string kind = {};               // of block; "" outside of blocks
  std::optional<uint64_t> block = {};  // set if `kind` is
  std::string layer = {};              // below the block
};

// A LoRA as the receipt describes it.
struct BakedLora {
  struct SkippedKey {
    std::string key = {};
    std::string reason = {};
  };

  LoraRecord record = {};
  std::string dialect = {};
  size_t keys = 0;  // of the file
  std::vector<SkippedKey> skipped = {};
};

struct BakedTensor {
  std::string name = {};  // "transformer/transformer_blocks.3.attn.to_q.weight"
  TensorPlace place = {};
  std::string stored = {};  // "8-bit affine, group 64", "BF16"
  // The next two leave out what is not a number: a sum that overflowed.
  std::map<size_t, double> kept = {};         // share, by index of the LoRA; about 0..1
  std::optional<double> relative_error = {};  // of what is stored to the exact sum, 0..
  std::optional<int> raised_from = {};        // bits, by --escalate
  double worst() const;                       // lowest of `kept`; 1 if there is none
};

struct HeldTensor {
  std::string name = {};
  TensorPlace place = {};
  std::string stored = {};
  Shape shape = {};  // unpacked
  uint64_t bytes = 0;
  bool baked = false;
};

struct ComponentSize {  // bytes of weight files
  std::string name = {};
  uint64_t before = 0;
  uint64_t after = 0;
};

struct PictureDifference {
  double psnr_db = 0;  // infinite if equal
  double ssim = 0;
  std::vector<std::byte> png = {};  // amplified
};

struct ReportPicture {
  int width = 0;
  int height = 0;
  std::vector<std::byte> png = {};                   // the file
  std::optional<PictureDifference> difference = {};  // to the reference's; none for itself
};

struct PictureRow {
  std::string name = {};
  std::string prompt = {};                   // "" if no picture of the row holds its recipe
  std::string settings = {};                 // "seed 42, 20 steps"; ""
  std::vector<ReportPicture> pictures = {};  // by column
};

struct PictureColumn {
  std::string name = {};
  std::optional<double> mean_psnr_db = {};  // of the pictures that differ; none if none does
  double mean_ssim = 1;                     // of all
  size_t equal = 0;                         // pictures that do not differ from the reference
};

struct PictureGrid {
  std::vector<PictureColumn> columns = {};
  size_t reference = 0;  // index of a column
  std::vector<PictureRow> rows = {};
};

struct ReportFacts {
  std::string name = {};  // of the folder
  Receipt receipt = {};
  std::string title = {};             // of the family: "FLUX.1"
  std::vector<BakedLora> loras = {};  // as in the receipt
  // The transformer first, then the family's order; of each the kinds of blocks, shortest name
  // first, block by block.
  std::vector<BakedTensor> baked = {};
  std::vector<HeldTensor> tensors = {};
  std::vector<ComponentSize> sizes = {};
  std::optional<PictureGrid> pictures = {};
  std::string verdict = {};                // one sentence
  std::vector<std::string> warnings = {};  // what is not as it was asked for

  std::optional<double> mean_kept() const;            // over tensors and LoRAs; none if nothing
  std::optional<double> mean_relative_error() const;  // over baked tensors
  ComponentSize all_together() const;                 // sums of `sizes`
};

}  // namespace mflux
