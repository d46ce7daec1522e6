// SPDX-License-Identifier: MIT
// Where the save grows: in the folder itself if that is absent or empty, else next to it in
// .OUT.mflux-new-<16 random digits>; the two change places in publish(), and the old one is then
// removed. Where a file system cannot exchange folders the old one is called .OUT.mflux-old-... for
// a moment, and a save that finds one without its OUT gives the name back.
// The constructor creates nothing: it locks and finds what killed saves left; create() tidies up.
// A shard counts as finished if the journal lists it and a file of its size is there, under its own
// name or still under the hidden one: the journal is written before the rename.
#include "mflux/bake/output_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/base/folders.h"
#include "mflux/base/hash.h"
#include "mflux/base/paths.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kNew = "new";  // roles of the folders beside an output
constexpr std::string_view kOld = "old";
constexpr size_t kRandomDigits = 16;

// But for what a killed save may leave before it has a journal, and what macOS puts anywhere.
bool holds_nothing(const fs::path& folder) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!is_temporary(name) && !is_system_file(name)) return false;
  }
  if (error) fail("{}: cannot read the folder: {}", folder.string(), error.message());
  return true;
}

// Whether replacing the folder would only remove a model.
bool looks_like_a_model(const fs::path& folder) {
  for (const char* name : {"bake.json", "model_index.json", "model.safetensors"}) {
    if (fs::exists(folder / name)) return true;
  }
  return fs::exists(journal_path(folder)) || fs::is_directory(folder / "transformer");
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

uint64_t device_of(const fs::path& path) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0) fail("{}: cannot examine", path.string());
  return static_cast<uint64_t>(status.st_dev);
}

fs::path existing_ancestor(fs::path path) {
  while (!fs::exists(path)) path = path.parent_path();
  return path;
}

void check_replaceable(const fs::path& folder, bool overwrite) {
  if (!overwrite) {
    fail(
        ErrorKind::usage,
        "{}: the folder {}; choose another --path or add --overwrite",
        folder.string(),
        fs::exists(journal_path(folder)) ? "holds an unfinished save with other inputs or options"
                                         : "is not empty");
  }
  if (device_of(folder) != device_of(folder.parent_path())) {
    fail(
        ErrorKind::usage,
        "{}: is where a disk or volume is mounted, which cannot be replaced; choose a folder in it",
        folder.string());
  }
  if (!looks_like_a_model(folder)) {
    fail(
        ErrorKind::usage,
        "{}: --overwrite replaces the whole folder, and this one does not look like a model",
        folder.string());
  }
}

// How the names of folders beside `target` begin; a random part follows. They name the target, so
// that the next save finds them.
std::string prefix_beside(const fs::path& target, std::string_view role) {
  constexpr size_t kMaxName = 200;  // most file systems allow 255 bytes
  const std::string name = target.filename().string();
  return fmt::format(".{}.mflux-{}-", name.size() > kMaxName ? hash_text(name) : name, role);
}

// The link that one follows on the way from `folder` to `path`.
std::optional<fs::path> link_inside(const fs::path& folder, const fs::path& path) {
  for (fs::path part = path; part != folder; part = part.parent_path()) {
    if (fs::is_symlink(part)) return part;
  }
  return std::nullopt;
}

// Whether a file of that size, no link, is in `folder` or its folders.
bool is_file_inside(const fs::path& folder, const fs::path& path, uint64_t bytes) {
  return !link_inside(folder, path) && fs::is_regular_file(path) && fs::file_size(path) == bytes;
}

[[noreturn]] void fail_busy(const fs::path& folder) {
  fail(
      "{}: another save is writing it; wait until that is done, or choose another --path",
      folder.string());
}

FolderLock lock_of(const fs::path& folder) {
  std::optional<FolderLock> lock = FolderLock::take(folder);
  if (!lock) fail_busy(folder);
  return std::move(*lock);
}

}  // namespace

OutputFolder::OutputFolder(
    const fs::path& path,
    bool overwrite,
    const std::vector<fs::path>& inputs,
    std::string fingerprint)
    : journal_{.fingerprint = std::move(fingerprint)} {
  if (path.empty()) fail(ErrorKind::usage, "--path is missing: where should the model be saved?");
  try {
    target_ = fs::weakly_canonical(fs::absolute(path));
    if (!target_.has_filename()) target_ = target_.parent_path();
    check_apart(target_, inputs);
  } catch (const fs::filesystem_error& error) {
    fail("{}: {}", path.string(), error.code().message());
  }
  work_ = target_;
  restore_old();
  const bool taken = take_target();
  if (taken && resume(target_)) {
    for (Leftover& left : find_leftovers(kNew)) stale_.push_back(std::move(left));
    return;
  }
  if (taken) check_replaceable(target_, overwrite);
  for (Leftover& left : find_leftovers(kNew)) {
    if (!resumed_ && resume(left.path)) {
      work_ = left.path;
      beside_lock_ = std::move(left.lock);
    } else {
      stale_.push_back(std::move(left));
    }
  }
  if (taken && !resumed_) work_ = beside(kNew);
}

OutputFolder::~OutputFolder() {
  if (!published_) remove_created();
}

// Locks what is at the target. Whether it is a folder with something in it.
bool OutputFolder::take_target() {
  if (!fs::exists(target_)) return false;
  if (!fs::is_directory(target_)) {
    fail(ErrorKind::usage, "{}: exists and is not a folder", target_.string());
  }
  target_lock_ = lock_of(target_);
  return !holds_nothing(target_);
}

// The name of a folder beside the target that takes part in replacing it.
fs::path OutputFolder::beside(std::string_view role) const {
  return target_.parent_path() / (prefix_beside(target_, role) + random_digits());
}

// Folders of that role that killed saves left. Throws Error if one belongs to a living save.
std::vector<OutputFolder::Leftover> OutputFolder::find_leftovers(std::string_view role) const {
  std::vector<Leftover> found;
  const std::string prefix = prefix_beside(target_, role);
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(target_.parent_path(), error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix) || name.size() != prefix.size() + kRandomDigits) continue;
    if (!fs::is_directory(entry.symlink_status(error))) continue;
    if (auto lock = FolderLock::take(entry.path())) {
      found.push_back({entry.path(), std::move(*lock)});
    } else if (fs::exists(entry.path())) {
      fail_busy(target_);
    }
  }
  return found;
}

// Where folders cannot change places at once, a kill in between leaves nothing at the target.
void OutputFolder::restore_old() {
  stale_ = find_leftovers(kOld);
  if (stale_.empty() || fs::exists(target_)) return;
  move_folder(stale_.back().path, target_);
  stale_.pop_back();
}

void OutputFolder::check_disk(uint64_t bytes) const {
  std::error_code error;
  const fs::path ancestor = existing_ancestor(work_);
  const fs::space_info space = fs::space(ancestor, error);
  if (error) fail("{}: cannot tell how much space is free: {}", ancestor.string(), error.message());
  if (space.available < bytes) {
    fail(
        "{}: not enough space: {:.2f} GB are free, {:.2f} GB are needed",
        ancestor.string(),
        static_cast<double>(space.available) / 1e9,
        static_cast<double>(bytes) / 1e9);
  }
  if (::access(ancestor.c_str(), W_OK | X_OK) != 0) {
    fail("{}: the folder is not writable", ancestor.string());
  }
}

uint64_t OutputFolder::device() const {
  return device_of(existing_ancestor(work_));
}

std::optional<FolderLock>& OutputFolder::work_lock() {
  return work_ == target_ ? target_lock_ : beside_lock_;
}

void OutputFolder::create() {
  if (!work_lock()) lock_work();
  owns_work_ = true;
  if (!work_lock()->works()) {
    notes_.push_back(fmt::format(
        "{}: this file system has no locks: do not let a second save write there at the same time",
        target_.string()));
  }
  for (Leftover& left : stale_) {
    const std::string problem = remove_folder(left.path);
    if (!problem.empty()) {
      notes_.push_back(fmt::format(
          "{}: left by an earlier save, and cannot be removed: {}", left.path.string(), problem));
    }
  }
  stale_.clear();
  tidy_up();
  write_journal(work_, journal_);
}

// Makes the folder that the save grows in and locks it. Another save may get here at the same time.
void OutputFolder::lock_work() {
  make_folder(work_.parent_path());
  std::error_code error;
  const bool created = fs::create_directory(work_, error);
  if (error) fail("{}: cannot create the folder: {}", work_.string(), error.message());
  if (created) created_folders_.insert(work_);  // removed only while it is empty
  work_lock() = FolderLock::take(work_);
  if (!work_lock()) {
    created_folders_.erase(work_);
    fail_busy(target_);
  }
  if (!holds_nothing(work_)) {
    fail("{}: another save has just written it; run the command again", work_.string());
  }
}

// Shards that an earlier run finished get their names; what it did not finish goes.
void OutputFolder::tidy_up() {
  for (const auto& [file, shard] : journal_.shards) {
    const fs::path path = work_ / file;
    if (is_file_inside(work_, path, shard.bytes)) continue;
    fs::rename(path.parent_path() / shard.temporary, path);
    sync_folder(path.parent_path());
  }
  std::vector<fs::path> left;
  for (const auto& entry : fs::recursive_directory_iterator(work_)) {
    if (is_temporary(entry.path().filename().string())) left.push_back(entry.path());
  }
  for (const fs::path& path : left) fs::remove(path);
}

std::vector<std::string> OutputFolder::take_notes() {
  return std::exchange(notes_, {});
}

fs::path OutputFolder::prepare(const std::string& relative) {
  if (!stays_inside(relative))
    fail("'{}' is not the name of a file in {}", relative, work_.string());
  const fs::path path = work_ / relative;
  if (const auto link = link_inside(work_, path)) {
    fail("{}: a link in the output folder; nothing is written through it", link->string());
  }
  make_folder(path.parent_path());
  if (!fs::exists(path)) created_files_.push_back(path);
  return path;
}

void OutputFolder::add_finished(const std::string& file, FinishedShard shard) {
  journal_.shards[file] = std::move(shard);
  write_journal(work_, journal_);
}

void OutputFolder::publish(const std::vector<std::pair<std::string, std::string>>& indexes) {
  for (const auto& [file, text] : indexes) write_text_atomically(prepare(file), text);
  sync_folder(work_);
  if (work_ != target_) replace_target();
  published_ = true;
}

void OutputFolder::replace_target() {
  fs::path old;
  if (!target_lock_) {
    move_folder(work_, target_);
  } else if (target_lock_->is_of(target_)) {
    old = swap_folders(work_, target_, beside(kOld));
  } else {
    fail("{}: was replaced or removed while the new folder was being written", target_.string());
  }
  work_ = target_;
  published_ = true;
  sync_folder(target_.parent_path());
  if (old.empty()) return;
  const std::string problem = remove_folder(old);
  if (problem.empty()) return;
  notes_.push_back(fmt::format(
      "{}: holds what is left of the replaced model, which cannot be removed: {}",
      old.string(),
      problem));
}

void OutputFolder::finish() {
  drop_journal(work_);
  sync_folder(work_);
}

void OutputFolder::mark_job_done(const std::string& job) {
  journal_.job = job;
  write_journal(work_, journal_);
}

bool OutputFolder::is_job_done(const fs::path& first_output, const std::string& job) {
  const std::optional<SaveJournal> journal = read_journal(first_output);
  return journal && journal->job == job;
}

void OutputFolder::drop_journal(const fs::path& output) {
  fs::remove(journal_path(output));
}

// Whether `folder` holds this save, unfinished.
bool OutputFolder::resume(const fs::path& folder) {
  std::optional<SaveJournal> journal = read_journal(folder);
  if (!journal || journal->fingerprint != journal_.fingerprint) return false;
  std::erase_if(journal->shards, [&](const auto& item) {
    const auto& [file, shard] = item;
    const fs::path path = folder / file;
    return !is_file_inside(folder, path, shard.bytes) &&
           !(is_temporary(shard.temporary) &&
             is_file_inside(folder, path.parent_path() / shard.temporary, shard.bytes));
  });
  journal_ = std::move(*journal);
  return resumed_ = true;
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
  if (owns_work_) {
    // The indexes first, since a folder without them is known to be unfinished.
    for (auto it = created_files_.rbegin(); it != created_files_.rend(); ++it) {
      fs::remove(*it, ignored);
    }
    fs::remove(journal_path(work_), ignored);
  }
  for (auto it = created_folders_.rbegin(); it != created_folders_.rend(); ++it) {
    fs::remove(*it, ignored);  // innermost first: a path sorts after its parent
  }
}

}  // namespace mflux
