// SPDX-License-Identifier: MIT
// The output folder: what it may be at the start, how it fills, and how it is left behind.
//
// Every file is written under a hidden name, synced and renamed; the indexes come last. A hidden
// journal lists finished shards, so that the same save can go on after a kill. A folder that is to
// be replaced is left alone until the new one next to it is complete; then they change places.
// A lock keeps a second save out; what a killed one left is found by the next.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/bake/save_journal.h"
#include "mflux/base/folder_lock.h"

namespace mflux {

class OutputFolder {
 public:
  // Checks `path` and everything about it that can be refused: not empty (unless `overwrite`, or an
  // unfinished save with the same fingerprint), not inside an input nor around one, not another
  // save's at this moment. Creates nothing; a folder that a killed save was about to replace gets
  // its name back.
  OutputFolder(
      const std::filesystem::path& path,
      bool overwrite,
      const std::vector<std::filesystem::path>& inputs,
      std::string fingerprint);
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  // Not published: removes what was created, unless it went on from an earlier run, whose shards
  // are kept.
  ~OutputFolder();

  void check_disk(uint64_t bytes) const;  // that there is room for them, and that we may write
  uint64_t device() const;                // that it lies on
  const std::filesystem::path& target() const { return target_; }  // absolute
  // Makes the folder, or the one next to it that will replace it. Removes what killed saves left.
  void create();
  // What the user should know, said once: no lock, an old folder that could not be removed.
  std::vector<std::string> take_notes();

  // A path inside; its parent exists afterwards.
  std::filesystem::path prepare(const std::string& relative);
  std::filesystem::path path(const std::string& relative) const { return work_ / relative; }
  // By file.
  const std::map<std::string, FinishedShard>& finished() const { return journal_.shards; }
  void add_finished(const std::string& file, FinishedShard shard);  // written to the journal

  // Every file is there: puts the indexes (relative path, text) in place, replaces the old folder.
  // Until the very end of it the old folder is whole.
  void publish(const std::vector<std::pair<std::string, std::string>>& indexes);
  // Drops the journal. Until then the same save would go on, and find nothing to do.
  void finish();

  // For a job: every output is published; said in the journal of its first one, which is dropped
  // last. A job killed in between is told to be done, not that its folders are full.
  void mark_job_done(const std::string& job);
  static bool is_job_done(const std::filesystem::path& first_output, const std::string& job);
  static void drop_journal(const std::filesystem::path& output);

 private:
  struct Leftover {
    std::filesystem::path path;
    FolderLock lock;
  };
  std::filesystem::path beside(std::string_view role) const;
  std::vector<Leftover> find_leftovers(std::string_view role) const;
  bool take_target();
  void restore_old();
  std::optional<FolderLock>& work_lock();
  void lock_work();
  void tidy_up();
  bool resume(const std::filesystem::path& folder);
  void make_folder(const std::filesystem::path& folder);
  void replace_target();
  void remove_created() noexcept;

  std::filesystem::path target_;  // where the user wants it
  std::filesystem::path work_;    // where it grows: target_, or beside it
  SaveJournal journal_ = {};
  std::optional<FolderLock> target_lock_ = {};  // of what is at target_
  std::optional<FolderLock> beside_lock_ = {};  // of work_, if that is beside it
  std::vector<Leftover> stale_ = {};            // of killed saves, to be removed
  std::vector<std::string> notes_ = {};
  std::set<std::filesystem::path> created_folders_ = {};
  std::vector<std::filesystem::path> created_files_ = {};
  bool resumed_ = false;
  bool owns_work_ = false;
  bool published_ = false;
};

}  // namespace mflux
