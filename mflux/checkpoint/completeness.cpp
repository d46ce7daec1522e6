// SPDX-License-Identifier: MIT
// check_complete() reads model_index.json and the names of files, so every plan can afford it.
// check_usable() is what verify asks on top: whether config.json fits the tensors, and whether the
// tokenizers can be read, which takes as long as their vocabularies are large.
#include "mflux/checkpoint/completeness.h"

#include <algorithm>
#include <map>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/base/json.h"
#include "mflux/base/paths.h"
#include "mflux/models/config.h"
#include "mflux/models/tables.h"
#include "mflux/safetensors/file_name.h"
#include "mflux/tokenizer/tokenizer.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

constexpr const char* kIndex = "model_index.json";
constexpr const char* kJournal = ".mflux-save.json";  // of output_folder.cpp

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

bool has_component(const Checkpoint& model, std::string_view name) {
  return std::ranges::find(model.components, name, &Component::name) != model.components.end();
}

// By part: whether model_index.json promises it or says that there is none.
std::map<std::string, bool> read_index(const fs::path& file) {
  const nlohmann::json index = read_json(file);
  if (!index.is_object()) fail("{} is not a JSON object", file.string());
  std::map<std::string, bool> promised;
  for (const auto& [part, value] : index.items()) {
    if (!value.is_array() || value.size() != 2) continue;
    promised[part] = !value[0].is_null() && !value[1].is_null();
  }
  return promised;
}

// The names of a folder's files, without those of the system.
std::vector<std::string> files_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!is_system_file(name)) names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

bool holds(const fs::path& folder, const char* name) {
  std::error_code error;
  return fs::is_regular_file(folder / name, error) && fs::file_size(folder / name, error) != 0;
}

// What is wrong with a part that is promised; "" if it is there.
class Part {
 public:
  Part(const fs::path& model, const std::string& name) : folder_(model / name) {}

  std::string weights() const {
    if (std::string problem = folder(); !problem.empty()) return problem;
    const std::vector<std::string> names = files_in(folder_);
    const auto unfinished = std::ranges::find_if(
        names, [](const std::string& name) { return name.ends_with(".incomplete"); });
    if (unfinished != names.end()) {
      return fmt::format("holds {}, an unfinished download, and no weights", *unfinished);
    }
    if (names.empty()) return "the folder is empty";
    return fmt::format("holds {} but no weights (.safetensors)", fmt::join(names, ", "));
  }

  std::string tokenizer() const {
    if (std::string problem = folder(); !problem.empty()) return problem;
    if (holds(folder_, "tokenizer.json") || holds(folder_, "spiece.model")) return "";
    if (holds(folder_, "vocab.json") && holds(folder_, "merges.txt")) return "";
    return fmt::format(
        "holds {}; expected tokenizer.json, spiece.model, or vocab.json and merges.txt",
        files_in(folder_).empty() ? "nothing"
                                  : fmt::format("{}", fmt::join(files_in(folder_), ", ")));
  }

  std::string settings() const {
    if (std::string problem = folder(); !problem.empty()) return problem;
    return files_in(folder_).empty() ? "the folder is empty" : "";
  }

 private:
  std::string folder() const {
    if (const auto target = safetensors::dangling_target(folder_)) {
      return fmt::format("a link to {}, which is not there", *target);
    }
    std::error_code error;
    if (!fs::exists(folder_, error)) return "there is no such folder";
    if (!fs::is_directory(folder_, error)) return "is a file, expected a folder";
    for (const std::string& name : files_in(folder_)) {
      if (const auto target = safetensors::dangling_target(folder_ / name)) {
        return fmt::format("{} is a link to {}, which is not there", name, *target);
      }
    }
    return "";
  }

  fs::path folder_;
};

class Completeness {
 public:
  explicit Completeness(const Checkpoint& model)
      : model_(model),
        weights_(models::weight_components(*model.family)),
        tokenizers_(models::tokenizer_folders(*model.family)) {}

  std::vector<std::string> check() {
    if (model_.single_file || model_.bare) return others();
    if (is_there(model_.path / kIndex)) promised_ = read_index(model_.path / kIndex);
    if (promised_.empty() && alone()) return others();
    if (fs::exists(model_.path / kJournal)) {
      fail("{}: an unfinished save; run the same command again to finish it", model_.path.string());
    }
    for (const std::string& name : weights_) check_part(name);
    for (const std::string& name : tokenizers_) check_part(name);
    for (const std::string& name : models::copied_folders(*model_.family)) {
      const auto found = promised_.find(name);
      if (contains(tokenizers_, name) || found == promised_.end() || !found->second) continue;
      add(name, Part(model_.path, name).settings());
    }
    refuse();
    return absent_;
  }

 private:
  std::vector<std::string> others() const {
    std::vector<std::string> names = weights_;
    names.insert(names.end(), tokenizers_.begin(), tokenizers_.end());
    std::erase(names, "transformer");
    return names;
  }

  // A transformer, and nothing else that a model is made of.
  bool alone() const {
    return has_component(model_, "transformer") &&
           std::ranges::none_of(others(), [&](const std::string& name) {
             return fs::symlink_status(model_.path / name).type() != fs::file_type::not_found;
           });
  }

  void add(const std::string& name, const std::string& problem) {
    if (!problem.empty()) problems_.push_back(name + ": " + problem);
  }

  void check_part(const std::string& name) {
    const Part part(model_.path, name);
    const std::string problem = contains(tokenizers_, name)   ? part.tokenizer()
                                : has_component(model_, name) ? ""
                                                              : part.weights();
    const auto found = promised_.find(name);
    if (found == promised_.end() || found->second) {
      add(name, problem);
    } else if (!problem.empty()) {
      absent_.push_back(name);
    }
  }

  void refuse() const {
    if (problems_.empty()) return;
    fail(
        "{}: not a whole {} model (an incomplete download?). Missing from what {}:\n  {}",
        model_.path.string(),
        models::family_title(*model_.family),
        promised_.empty() ? "such a folder holds" : "model_index.json promises",
        fmt::join(problems_, "\n  "));
  }

  const Checkpoint& model_;
  std::vector<std::string> weights_;
  std::vector<std::string> tokenizers_;
  std::map<std::string, bool> promised_;  // empty: model_index.json is not there or names no part
  std::vector<std::string> absent_;
  std::vector<std::string> problems_;
};

// What the schedule of a picture is computed from, where the file says it.
void check_scheduler(const Checkpoint& model) {
  if (model.family->schedule.empty()) return;
  const fs::path file = model.path / "scheduler" / "scheduler_config.json";
  if (!fs::exists(file)) return;
  if (!read_json(file).is_object()) fail("{}: is not a JSON object", file.string());
  const models::Config config = models::read_config(file);
  for (const std::string_view key : model.family->schedule) config.real(key);
  config.flag("use_dynamic_shifting");
}

}  // namespace

std::vector<std::string> check_complete(const Checkpoint& model) {
  return Completeness(model).check();
}

void check_usable(const Checkpoint& model, const std::vector<std::string>& absent) {
  std::vector<models::SourceComponent> sources;
  for (const Component& component : model.components) sources.push_back(component.source);
  const auto lines = models::disagreements(*model.family, sources, model.naming);
  if (!lines.empty()) fail("{}: {}", model.path.string(), fmt::join(lines, "; "));
  check_scheduler(model);
  for (const models::PromptTokenizer& expected : model.family->tokenizers) {
    if (contains(absent, expected.folder)) continue;
    const fs::path folder = model.path / expected.folder;
    if (tokenizer::Tokenizer::open(folder).kind() == expected.kind) continue;
    fail("{}: the tokenizer is not {}", folder.string(), expected.title);
  }
}

}  // namespace mflux
