// SPDX-License-Identifier: MIT
#include "tests/faults/place.h"

#include <sys/stat.h>

#include <algorithm>

#include <doctest/doctest.h>
#include <fmt/format.h>

namespace mflux::testing {
namespace fs = std::filesystem;
namespace {

bool is_hidden(const fs::path& path) {
  return std::ranges::any_of(
      path, [](const fs::path& part) { return part.string().starts_with('.'); });
}

FolderContents visible(FolderContents contents) {
  std::erase_if(contents, [](const auto& file) { return is_hidden(file.first); });
  return contents;
}

// Without these nobody takes a folder for a model that is complete.
bool holds_all_marks(const FolderContents& now, const FolderContents& whole) {
  return std::ranges::all_of(whole, [&](const auto& file) {
    const bool mark = file.first.ends_with("index.json") || file.first.ends_with("bake.json");
    return !mark || now.count(file.first) != 0;
  });
}

bool journal_names(const fs::path& file, const fs::path& top) {
  for (fs::path folder = file.parent_path(); folder != top; folder = folder.parent_path()) {
    const std::string name = '"' + file.lexically_relative(folder).string() + '"';
    if (contains(read_file(folder / ".mflux-save.json"), name)) return true;
  }
  return false;
}

std::pair<uint64_t, int64_t> identity_of(const fs::path& file) {
  struct stat status = {};
  REQUIRE(::stat(file.c_str(), &status) == 0);
  return {status.st_ino, fs::last_write_time(file).time_since_epoch().count()};
}

}  // namespace

std::string end_of(const ProgramRun& run) {
  const size_t error = run.err.rfind("mflux: error: ");
  return fmt::format(
      "ended with {}: {}", run.status, error == std::string::npos ? "" : run.err.substr(error));
}

Place::Place(ProgramCall call, fs::path path, const fs::path& initial)
    : call_(std::move(call)), path_(std::move(path)), initial_(initial) {
  reset();
  before_ = now();
  const ProgramRun run = run_program(call_);
  REQUIRE_MESSAGE(run.status == 0, run.err);
  after_ = now();
  REQUIRE_FALSE(differences(before_, after_).empty());
}

void Place::reset() const {
  fs::remove_all(path_);
  fs::create_directory(path_);
  if (!initial_.empty()) fs::copy(initial_, path_, fs::copy_options::recursive);
}

bool Place::is_replaced() const {
  return differences(visible(now()), after_).empty();
}

bool Place::old_new_or_unfinished() const {
  const FolderContents shown = visible(now());
  if (differences(shown, before_).empty() || is_replaced()) return true;
  return before_.empty() && !holds_all_marks(shown, after_);
}

Inodes Place::finished_shards() const {
  Inodes result;
  for (const auto& entry : fs::recursive_directory_iterator(path_)) {
    const fs::path& file = entry.path();
    if (file.extension() != ".safetensors" || is_hidden(file.filename())) continue;
    if (journal_names(file, path_)) result[file.string()] = identity_of(file);
  }
  return result;
}

void Place::check_resumes(Tries& tries) const {
  const Inodes finished = finished_shards();
  const bool done = is_done();
  const ProgramRun run = run_program(call_);
  const bool refused = done && run.status == 2 && contains(run.err, "is not empty");
  tries.check(run.status == 0 || refused, "the same command again " + end_of(run));
  for (const std::string& name : differences(after_, now()))
    tries.check(false, "after the same command, differs: " + name);
  std::vector<std::pair<uint64_t, int64_t>> kept;
  for (const auto& [name, bytes] : now()) {
    if (name.ends_with(".safetensors")) kept.push_back(identity_of(path_ / name));
  }
  for (const auto& [file, identity] : finished)
    tries.check(std::ranges::count(kept, identity) != 0, "written twice: " + file);
}

SavePlace::SavePlace(bool overwrite, const std::string& lacks)
    : place([&] {
        const fs::path initial = overwrite ? tiny.folder / "initial" : fs::path();
        const std::vector<std::string> old = {
            "save", "--model", tiny.path("model"), "--path", tiny.path("initial/out"), "-q", "4"};
        if (overwrite) REQUIRE(run_program(ProgramCall{.arguments = old}).status == 0);
        std::vector<std::string> arguments =
            tiny.arguments("place/out") + std::vector<std::string>{"--max-shard-size", "600kB"};
        if (overwrite) arguments.push_back("--overwrite");
        return Place(lacking({.arguments = arguments}, lacks), tiny.folder / "place", initial);
      }()) {}

Place SavePlace::with(const std::vector<std::string>& options) const {
  ProgramCall call = place.call();
  call.arguments = call.arguments + options;
  return Place(std::move(call), place.path(), place.initial());
}

}  // namespace mflux::testing
