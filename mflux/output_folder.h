// SPDX-License-Identifier: MIT
// The output folder: what it may be at the start, how it fills, and how it is left behind.
//
// Shards are written under a hidden name, synced and renamed; the indexes come last. A hidden
// journal lists finished shards, so that the same save can go on after a kill. A folder that is to
// be replaced is left alone until the new one is complete beside it.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/stream.h"

namespace mflux {

struct FinishedShard {
  std::string hash = {};                       // XXH3-128 of the file
  std::map<std::string, BakeSums> baked = {};  // by name of the planned tensor
};

class OutputFolder {
 public:
  // Checks `path` and everything about it that can be refused: not empty (unless `overwrite`, or an
  // unfinished save with the same fingerprint), not inside an input nor around one, enough space.
  // Creates nothing.
  OutputFolder(
      const std::filesystem::path& path,
      bool overwrite,
      const std::vector<std::filesystem::path>& inputs,
      std::string fingerprint);
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  // Not committed: removes what was created, unless it went on from an earlier run, whose shards
  // are kept.
  ~OutputFolder();

  void check_space(uint64_t bytes) const;
  uint64_t device() const;                                         // that it lies on
  const std::filesystem::path& target() const { return target_; }  // absolute
  void create();  // the folder, or the one beside it

  // A path inside; its parent exists afterwards.
  std::filesystem::path prepare(const std::string& relative);
  std::filesystem::path path(const std::string& relative) const { return work_ / relative; }
  const std::map<std::string, FinishedShard>& finished() const { return finished_; }  // by file
  void add_finished(const std::string& file, FinishedShard shard);  // written to the journal

  // Every file is there: puts the indexes (relative path, text) in place, replaces the old folder.
  void publish(const std::vector<std::pair<std::string, std::string>>& indexes);
  // Drops the journal. Until then the same save would go on, and find nothing to do.
  void finish();

  // For a job: every output is published; said in the journal of its first one, which is dropped
  // last. A job killed in between is told to be done, not that its folders are full.
  void mark_job_done(const std::string& job);
  static bool is_job_done(const std::filesystem::path& first_output, const std::string& job);
  static void drop_journal(const std::filesystem::path& output);

 private:
  void read_journal();
  void write_journal() const;
  void make_folder(const std::filesystem::path& folder);
  void remove_created() noexcept;

  std::filesystem::path target_;  // where the user wants it
  std::filesystem::path work_;    // where it grows: target_, or beside it
  std::string fingerprint_;
  std::string job_ = {};  // set once all outputs of it are published
  std::map<std::string, FinishedShard> finished_;
  std::set<std::filesystem::path> created_folders_;
  std::set<std::filesystem::path> created_files_;
  bool resumed_ = false;
  bool created_ = false;
  bool committed_ = false;
};

}  // namespace mflux
