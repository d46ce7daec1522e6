// SPDX-License-Identifier: MIT
// What a path is follows from what is in it: a file; a folder of folders with weights (a pipeline);
// a folder with weights and a config.json of its own (a transformer alone). All headers are read
// first, then the tables of models/ tell the family and the naming, then the group sizes that no
// metadata states are settled, and last come the small files that are copied. No weights are read.
#include "mflux/checkpoint/checkpoint.h"

#include <algorithm>
#include <utility>

#include "mflux/base/error.h"
#include "mflux/base/paths.h"
#include "mflux/checkpoint/group_size.h"
#include "mflux/safetensors/file_name.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

bool holds_tensors(const fs::path& folder) {
  return std::any_of(
      fs::directory_iterator(folder), fs::directory_iterator(), [](const auto& entry) {
        return safetensors::parse_file_name(entry.path().filename().string()).has_value();
      });
}

// Folders of a pipeline that may hold weights, known by what is in them.
std::vector<std::string> folders_with_tensors(const fs::path& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (it->is_directory() && !is_system_file(name) && holds_tensors(it->path())) {
      names.push_back(name);
    }
  }
  if (error) fail("{}: cannot list the folder: {}", path.string(), error.message());
  std::sort(names.begin(), names.end());
  return names;
}

// The folder of the model that a component's folder belongs to, or else that folder itself.
fs::path whole_of(const fs::path& folder) {
  fs::path above = fs::absolute(folder).lexically_normal().parent_path();
  for (const char* sign : {"model_index.json", "vae", "text_encoder"}) {
    if (fs::exists(above / sign)) return above;
  }
  return folder;
}

// An index, or one of several files that an index or their own names belong together: what they are
// parts of is meant.
void refuse_index(const fs::path& file) {
  const auto name = safetensors::parse_file_name(file.filename().string());
  if (!name || !name->index) return;
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  fail(
      "{}: this is the index of a model's files, not the model. Give the folder instead: {}",
      file.string(),
      whole_of(folder).string());
}

void refuse_shard(const fs::path& file) {
  const auto name = safetensors::parse_file_name(file.filename().string());
  if (!name) return;
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  uint64_t shards = name->shards;
  if (shards == 0) shards = safetensors::files_in_index(folder, file.filename().string());
  if (shards < 2) return;
  fail(
      "{}: this is one shard of {}, not the model. Give the folder instead: {}",
      file.string(),
      shards,
      whole_of(folder).string());
}

// Of a transformer's own folder.
std::vector<std::string> bare_files(const Checkpoint& model) {
  std::vector<std::string> files;
  if (fs::exists(model.path / "config.json")) files.push_back("transformer/config.json");
  return files;
}

[[noreturn]] void refuse_empty(const fs::path& path) {
  if (fs::exists(path / "model_index.json")) {
    fail(
        "{}: model_index.json is there, but none of the folders that it names holds a "
        ".safetensors file (an incomplete download?)",
        path.string());
  }
  fail(
      "{}: expected a model folder (transformer/, text_encoder/, vae/ with .safetensors files) "
      "or one .safetensors file; found neither",
      path.string());
}

// Small files that belong to the model and hold no weights.
std::vector<std::string> copied_files(const Checkpoint& model) {
  std::vector<std::string> files;
  const auto add = [&](const fs::path& relative) {
    if (is_there(model.path / relative)) files.push_back(relative.string());
  };
  add("model_index.json");
  for (const Component& component : model.components) {
    add(fs::path(component.name) / "config.json");
    add(fs::path(component.name) / "generation_config.json");
  }
  for (const std::string& folder : models::copied_folders(*model.family)) {
    if (!is_there(model.path / folder)) continue;
    for (const std::string& file : files_below(model.path / folder)) {
      files.push_back(folder + "/" + file);
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

const models::Family* asked_family(const std::optional<std::string>& base_model) {
  if (!base_model) return nullptr;
  if (const models::Family* family = models::find_family(*base_model)) return family;
  if (const models::KnownModel* known = models::find_known_model(*base_model)) {
    return models::find_family(known->family);
  }
  fail(ErrorKind::usage, "--base-model '{}' is not a model this program knows", *base_model);
}

// The components' tensors as one list for the models' tables, not copied: there may be many.
struct LentSources {
  LentSources(std::vector<Component>& from, std::string pipeline) : lenders(from) {
    for (Component& component : lenders) sources.push_back(std::move(component.source));
    if (!pipeline.empty()) sources.push_back({.config = std::move(pipeline)});
  }
  LentSources(const LentSources&) = delete;
  LentSources& operator=(const LentSources&) = delete;
  ~LentSources() {
    for (size_t i = 0; i < lenders.size(); ++i) lenders[i].source = std::move(sources[i]);
  }

  std::vector<Component>& lenders;
  std::vector<models::SourceComponent> sources = {};
};

void sort_components(Checkpoint& model) {
  const std::vector<std::string> order = models::weight_components(*model.family);
  std::erase_if(model.components, [&](const Component& component) {
    return std::find(order.begin(), order.end(), component.name) == order.end();
  });
  std::sort(model.components.begin(), model.components.end(), [&](const auto& a, const auto& b) {
    return std::find(order.begin(), order.end(), a.name) <
           std::find(order.begin(), order.end(), b.name);
  });
}

}  // namespace

fs::path copied_source(const Checkpoint& model, const std::string& file) {
  return model.path / (model.bare ? fs::path(file).filename() : fs::path(file));
}

Checkpoint open_tensors(const fs::path& path) {
  Checkpoint model;
  model.path = path;
  model.single_file = fs::is_regular_file(path);
  if (model.single_file) {
    refuse_index(path);
    model.components.push_back(open_component(path, ""));
    return model;
  }
  if (!fs::is_directory(path)) fail("{}: no such file or folder", path.string());
  const auto names = folders_with_tensors(path);
  for (const std::string& name : names) model.components.push_back(open_component(path, name));
  if (!names.empty()) return model;
  model.bare = holds_tensors(path) && fs::exists(path / "config.json");
  if (!model.bare) refuse_empty(path);
  Component transformer = open_component(path, "");
  transformer.name = transformer.source.name = "transformer";
  model.components.push_back(std::move(transformer));
  return model;
}

void identify(Checkpoint& model, const std::optional<std::string>& base_model) {
  const models::Family* asked = asked_family(base_model);
  std::string pipeline;
  if (const fs::path index = model.path / "model_index.json"; fs::is_regular_file(index)) {
    pipeline = read_text(index);
  }
  models::Identified identified;
  try {
    const LentSources lent(model.components, std::move(pipeline));
    identified = models::identify(lent.sources, asked);
  } catch (const Error& error) {
    const std::string path = model.path.string();
    if (std::string_view(error.what()).starts_with(path)) throw;
    fail(error.kind(), "{}: {}", path, Shown{error.what()});
  }
  model.family = identified.family;
  model.naming = identified.naming;
  if (model.single_file) {
    model.components.front().name = "transformer";
    model.components.front().source.name = "transformer";
  }
  sort_components(model);
  for (Component& component : model.components) {
    if (component.tells_formats()) continue;
    settle_group_sizes(
        component, models::expected_columns(*model.family, component.source, model.naming));
  }
}

Checkpoint open_checkpoint(const fs::path& path, const std::optional<std::string>& base_model) {
  if (fs::is_regular_file(path)) refuse_shard(path);
  Checkpoint model = open_tensors(path);
  identify(model, base_model);
  if (!model.single_file) model.copied = model.bare ? bare_files(model) : copied_files(model);
  for (const std::string& file : model.copied) {
    model.copied_stamps.push_back(stamp_of(copied_source(model, file)));
  }
  return model;
}

}  // namespace mflux
