// SPDX-License-Identifier: MIT
#include "mflux/output_folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <system_error>

#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/base/paths.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;
constexpr const char* kJournal = ".mflux-save.json";

bool holds_nothing(const fs::path& folder) {
  std::error_code error;
  const bool empty = fs::is_empty(folder, error);
  if (error) fail("{}: cannot read the folder: {}", folder.string(), error.message());
  return empty;
}

// Whether replacing the folder would only remove a model.
bool looks_like_a_model(const fs::path& folder) {
  for (const char* name : {"bake.json", "model_index.json", kJournal, "model.safetensors"}) {
    if (fs::exists(folder / name)) return true;
  }
  return fs::is_directory(folder / "transformer");
}

void check_apart(const fs::path& output, const std::vector<fs::path>& inputs) {
  for (const fs::path& input : inputs) {
    const fs::path real = fs::weakly_canonical(fs::absolute(input));
    if (fs::is_directory(real) && lies_in(output, real)) {
      fail(
          ErrorKind::usage,
          "{}: the output is inside the input {}",
          output.string(),
          real.string());
    }
    if (lies_in(real, output)) {
      fail(
          ErrorKind::usage,
          "{}: the input {} is inside the output",
          output.string(),
          real.string());
    }
  }
}

fs::path existing_ancestor(fs::path path) {
  while (!fs::exists(path)) path = path.parent_path();
  return path;
}

Json to_json(const BakeSums& sums) {
  Json loras = Json::object();
  for (const auto& [index, lora] : sums.loras) {
    loras[std::to_string(index)] = {lora.cross, lora.norm};
  }
  return {
      {"error", {sums.error.error_sq, sums.error.exact_sq, sums.error.max_error}},
      {"loras", loras}};
}

BakeSums sums_from_json(const Json& json) {
  BakeSums sums;
  const Json& error = json.at("error");
  sums.error = {
      .error_sq = error.at(0).get<double>(),
      .exact_sq = error.at(1).get<double>(),
      .max_error = error.at(2).get<double>()};
  for (const auto& [index, lora] : json.at("loras").items()) {
    sums.loras[std::stoul(index)] = {
        .cross = lora.at(0).get<double>(), .norm = lora.at(1).get<double>()};
  }
  return sums;
}

}  // namespace

OutputFolder::OutputFolder(
    const fs::path& path,
    bool overwrite,
    const std::vector<fs::path>& inputs,
    std::string fingerprint)
    : fingerprint_(std::move(fingerprint)) {
  if (path.empty()) fail(ErrorKind::usage, "--path is missing: where should the model be saved?");
  try {
    target_ = fs::weakly_canonical(fs::absolute(path));
    if (!target_.has_filename()) target_ = target_.parent_path();
    check_apart(target_, inputs);
  } catch (const fs::filesystem_error& error) {
    fail("{}: {}", path.string(), error.code().message());
  }
  work_ = target_;
  if (!fs::exists(target_)) return;
  if (!fs::is_directory(target_))
    fail(ErrorKind::usage, "{}: exists and is not a folder", target_.string());
  if (holds_nothing(target_)) return;
  read_journal();
  if (resumed_) return;
  if (!overwrite) {
    const bool unfinished = fs::exists(target_ / kJournal);
    fail(
        ErrorKind::usage,
        "{}: the folder {}; choose another --path or add --overwrite",
        target_.string(),
        unfinished ? "holds an unfinished save with other inputs or options" : "is not empty");
  }
  if (!looks_like_a_model(target_)) {
    fail(
        ErrorKind::usage,
        "{}: --overwrite replaces the whole folder, and this one does not look like a model",
        target_.string());
  }
  work_ = target_.parent_path() / fmt::format(".{}.mflux-new", target_.filename().string());
  if (fs::exists(work_)) {
    read_journal();
    if (!resumed_) fs::remove_all(work_);
  }
}

OutputFolder::~OutputFolder() {
  if (!committed_ && created_) remove_created();
}

void OutputFolder::check_space(uint64_t bytes) const {
  std::error_code error;
  const fs::path ancestor = existing_ancestor(work_);
  const fs::space_info space = fs::space(ancestor, error);
  if (error) fail("{}: cannot ask for free space: {}", ancestor.string(), error.message());
  if (space.available < bytes) {
    fail(
        "{}: not enough space: {:.2f} GB are free, {:.2f} GB are needed",
        ancestor.string(),
        static_cast<double>(space.available) / 1e9,
        static_cast<double>(bytes) / 1e9);
  }
}

uint64_t OutputFolder::device() const {
  struct stat status = {};
  const fs::path ancestor = existing_ancestor(work_);
  if (::stat(ancestor.c_str(), &status) != 0) fail("{}: cannot examine", ancestor.string());
  return static_cast<uint64_t>(status.st_dev);
}

void OutputFolder::create() {
  created_ = true;
  make_folder(work_);
  write_journal();
}

fs::path OutputFolder::prepare(const std::string& relative) {
  if (!stays_inside(relative))
    fail("'{}' is not the name of a file in {}", relative, work_.string());
  const fs::path path = work_ / relative;
  for (fs::path part = path; part != work_; part = part.parent_path()) {
    if (fs::is_symlink(part)) {
      fail("{}: a link in the output folder; nothing is written through it", part.string());
    }
  }
  make_folder(path.parent_path());
  if (!fs::exists(path)) created_files_.insert(path);
  return path;
}

void OutputFolder::add_finished(const std::string& file, FinishedShard shard) {
  finished_[file] = std::move(shard);
  write_journal();
}

void OutputFolder::publish(const std::vector<std::pair<std::string, std::string>>& indexes) {
  for (const auto& [file, text] : indexes) write_text_atomically(prepare(file), text);
  sync_folder(work_);
  if (work_ != target_) {
    const fs::path old =
        target_.parent_path() / fmt::format(".{}.mflux-old", target_.filename().string());
    fs::remove_all(old);
    fs::rename(target_, old);
    fs::rename(work_, target_);
    sync_folder(target_.parent_path());
    fs::remove_all(old);
    work_ = target_;
  }
  committed_ = true;
}

void OutputFolder::finish() {
  fs::remove(work_ / kJournal);
  sync_folder(work_);
}

void OutputFolder::mark_job_done(const std::string& job) {
  job_ = job;
  write_journal();
}

bool OutputFolder::is_job_done(const fs::path& first_output, const std::string& job) {
  const fs::path journal = first_output / kJournal;
  if (!fs::exists(journal)) return false;
  const Json json = Json::parse(read_text(journal), nullptr, false);
  return json.is_object() && json.value("job", "") == job;
}

void OutputFolder::drop_journal(const fs::path& output) {
  fs::remove(output / kJournal);
}

void OutputFolder::read_journal() {
  if (!fs::exists(work_ / kJournal)) return;
  try {
    const Json json = Json::parse(read_text(work_ / kJournal));
    if (json.at("fingerprint") != fingerprint_) return;
    for (const auto& [file, shard] : json.at("shards").items()) {
      if (!fs::exists(work_ / file)) continue;
      FinishedShard finished{.hash = shard.at("xxh3_128").get<std::string>()};
      for (const auto& [name, sums] : shard.at("baked").items()) {
        finished.baked[name] = sums_from_json(sums);
      }
      finished_[file] = std::move(finished);
    }
    resumed_ = true;
  } catch (const Json::exception&) {
    finished_.clear();  // a journal cut short: begin again
  }
}

void OutputFolder::write_journal() const {
  Json shards = Json::object();
  for (const auto& [file, shard] : finished_) {
    Json baked = Json::object();
    for (const auto& [name, sums] : shard.baked) baked[name] = to_json(sums);
    shards[file] = {{"xxh3_128", shard.hash}, {"baked", baked}};
  }
  Json json = {{"fingerprint", fingerprint_}, {"shards", shards}};
  if (!job_.empty()) json["job"] = job_;
  write_text_atomically(work_ / kJournal, json.dump());
}

void OutputFolder::make_folder(const fs::path& folder) {
  std::vector<fs::path> missing;
  for (fs::path p = folder; !p.empty() && !fs::exists(p); p = p.parent_path()) missing.push_back(p);
  for (auto it = missing.rbegin(); it != missing.rend(); ++it) {
    std::error_code error;
    fs::create_directory(*it, error);
    if (error) fail("{}: cannot create the folder: {}", it->string(), error.message());
    created_folders_.insert(*it);
  }
}

void OutputFolder::remove_created() noexcept {
  std::error_code ignored;
  if (resumed_)
    return;  // what an earlier run finished is worth keeping, and so is what this one added
  for (const fs::path& file : created_files_) fs::remove(file, ignored);
  fs::remove(work_ / kJournal, ignored);
  for (auto it = created_folders_.rbegin(); it != created_folders_.rend(); ++it) {
    fs::remove(*it, ignored);  // innermost first: a path sorts after its parent
  }
}

}  // namespace mflux
