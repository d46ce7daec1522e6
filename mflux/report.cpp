// SPDX-License-Identifier: MIT
#include "mflux/report.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <tuple>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/base/tensor.h"
#include "mflux/checkpoint/checkpoint.h"
#include "mflux/report/details.h"
#include "mflux/report/pictures.h"
#include "mflux/report/sections.h"
#include "mflux/report/verdict.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

// The transformer, which nearly all of it is about, and the others in the family's order.
std::vector<std::string> component_names(const Checkpoint& model) {
  std::vector<std::string> names;
  for (const Component& component : model.components) names.push_back(component.name);
  std::ranges::stable_partition(names, [](const auto& name) { return name == "transformer"; });
  return names;
}

// Sorts as ReportFacts says: what stands outside of blocks behind the blocks.
template <typename Tensor>
void sort_by_place(std::vector<Tensor>& tensors, const std::vector<std::string>& components) {
  const auto key = [&](const Tensor& tensor) {
    const TensorPlace& place = tensor.place;
    const auto component = std::ranges::find(components, place.component) - components.begin();
    return std::make_tuple(
        component, place.kind.empty(), place.kind.size(), place.kind, place.block);
  };
  std::ranges::stable_sort(tensors, [&](const Tensor& a, const Tensor& b) {
    const auto left = key(a);
    const auto right = key(b);
    return left != right ? left < right : safetensors::natural_less(a.place.layer, b.place.layer);
  });
}

uint64_t stored_bytes(const LogicalTensor& tensor) {
  uint64_t bytes = tensor.spec.rows() * tensor.stored_row_bytes();
  for (const safetensors::StoredTensor* part : {tensor.scales, tensor.biases}) {
    if (part != nullptr) bytes += part->info.bytes;
  }
  return bytes;
}

void list_tensors(const Checkpoint& model, ReportFacts& facts) {
  std::set<std::string_view> baked;
  for (const BakedTensor& tensor : facts.baked) baked.insert(tensor.name);
  for (const Component& component : model.components) {
    for (const LogicalTensor& tensor : component.tensors) {
      const std::string name = full_name(component.name, tensor.name);
      facts.tensors.push_back(
          {.name = name,
           .place = report::place_of(component.name, tensor.name),
           .stored = tensor.format ? to_string(*tensor.format)
                                   : std::string(dtype_name(tensor.spec.dtype)),
           .shape = tensor.spec.shape,
           .bytes = stored_bytes(tensor),
           .baked = baked.contains(name)});
    }
  }
}

// Of the weight files of one component; a file outside of folders holds a transformer.
uint64_t weight_bytes(const std::vector<FileRecord>& files, std::string_view component) {
  uint64_t bytes = 0;
  for (const FileRecord& file : files) {
    if (!file.file.ends_with(".safetensors")) continue;
    const std::string folder = fs::path(file.file).parent_path().string();
    if ((folder.empty() ? "transformer" : folder) == component) bytes += file.bytes;
  }
  return bytes;
}

}  // namespace

ReportFacts gather_report(const ReportOptions& options) {
  try {
    const fs::path file = options.folder / "bake.json";
    if (!fs::is_directory(options.folder)) fail("{}: no such folder", options.folder.string());
    if (!fs::is_regular_file(file)) {
      fail("{}: no such file; a report is about a folder saved by mflux", file.string());
    }
    ReportFacts facts{.name = fs::canonical(options.folder).filename().string()};
    report::read_receipt(read_text(file), file.string(), facts);
    const bool one_file = facts.receipt.options.layout == Layout::comfyui;
    const Checkpoint model = open_checkpoint(
        one_file ? options.folder / "model.safetensors" : options.folder,
        facts.receipt.options.base_model);
    facts.title = models::family_title(*model.family);
    list_tensors(model, facts);
    const std::vector<std::string> components = component_names(model);
    for (const std::string& name : components) {
      facts.sizes.push_back(
          {.name = name,
           .before = weight_bytes(facts.receipt.inputs, name),
           .after = weight_bytes(facts.receipt.outputs, name)});
    }
    sort_by_place(facts.baked, components);
    sort_by_place(facts.tensors, components);
    if (options.images) facts.pictures = report::read_pictures(options);
    report::judge(facts);
    return facts;
  } catch (const fs::filesystem_error& error) {
    fail("{}", error.what());
  }
}

std::string format_report(const ReportFacts& facts) {
  std::string out;
  report::put_head(out, facts);
  report::put_verdict(out, facts);
  report::put_sources(out, facts);
  report::put_sizes(out, facts);
  report::put_layers(out, facts);
  report::put_storage(out, facts);
  if (facts.pictures) report::put_pictures(out, *facts.pictures);
  report::put_left_out(out, facts);
  report::put_foot(out);
  return out;
}

}  // namespace mflux
