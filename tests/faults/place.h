// SPDX-License-Identifier: MIT
// A folder that a command writes to, set back before every try: what it held, what an undisturbed
// run makes of it, and which of the two, or what in between, it holds after a disturbed one.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/faults/faults.h"
#include "tests/folders.h"
#include "tests/tiny_save.h"

namespace mflux::testing {

// "ended with 1: mflux: error: ..."
std::string end_of(const ProgramRun& run);

// Files that must not be made anew: path -> inode and time.
using Inodes = std::map<std::string, std::pair<uint64_t, int64_t>>;

class Place {
 public:
  // The command, and what it finds. Runs it once.
  Place(ProgramCall call, std::filesystem::path path, const std::filesystem::path& initial = {});

  const ProgramCall& call() const { return call_; }
  const std::filesystem::path& path() const { return path_; }
  const std::filesystem::path& initial() const { return initial_; }
  void reset() const;
  const FolderContents& before() const { return before_; }
  const FolderContents& after() const { return after_; }  // of an undisturbed run
  FolderContents now() const { return contents_of(path_); }
  bool as_before() const { return differences(before_, now()).empty(); }
  bool is_replaced() const;  // all that is new is there, perhaps with hidden files
  bool is_done() const { return differences(after_, now()).empty(); }

  // OUT at any instant: what was there, untouched; or all that is new; or, where nothing was, a
  // part of it that nobody takes for the whole.
  bool old_new_or_unfinished() const;
  // Shards that a journal beside or above them names.
  Inodes finished_shards() const;
  // The same command again ends well, or has nothing to do; the bytes are those of an undisturbed
  // run, nothing hidden is left, and what was finished is what it was.
  void check_resumes(Tries& tries) const;

 private:
  ProgramCall call_;
  std::filesystem::path path_;
  std::filesystem::path initial_;
  FolderContents before_ = {};
  FolderContents after_ = {};
};

// A tiny model and its LoRA, saved into many shards in folder `place`, where --overwrite meets an
// older model. The system lacks these calls.
struct SavePlace {
  explicit SavePlace(bool overwrite, const std::string& lacks = "");
  Place with(const std::vector<std::string>& options) const;  // another save to the same place

  TinySave tiny = TinySave();
  Place place;
};

}  // namespace mflux::testing
