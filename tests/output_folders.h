// SPDX-License-Identifier: MIT
// Output folders as saves leave them: whole, or killed.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/bake/output_folder.h"
#include "tests/testing.h"

namespace mflux::testing {

inline std::string refusal_of(
    const std::filesystem::path& path, bool overwrite, const std::string& fingerprint) {
  return error_of([&] { OutputFolder(path, overwrite, {}, fingerprint); });
}

inline BakeSums some_sums() {
  BakeSums sums;
  sums.error = {.error_sq = 0.1, .exact_sq = 1e-300, .max_error = 1.0 / 3};
  sums.loras[0] = {.cross = -1e-17, .norm = 12345.678901234567};
  sums.loras[2] = {.cross = 0, .norm = 5e-324};
  return sums;
}

// Does it with an output that is created, in a process that ends without a destructor: what a
// killed save leaves.
inline void be_killed(
    const std::filesystem::path& path,
    bool overwrite,
    const std::string& fingerprint,
    const std::function<void(OutputFolder&)>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    try {
      OutputFolder output(path, overwrite, {}, fingerprint);
      output.create();
      body(output);
      ::_exit(0);
    } catch (...) {
      ::_exit(1);
    }
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  REQUIRE(status == 0);
}

inline void add_shard(OutputFolder& output, const std::string& file, const std::string& text) {
  write_file(output.prepare(file), text);
  output.add_finished(
      file,
      {.hash = "hash of " + text, .bytes = text.size(), .baked = {{"a.weight", some_sums()}}});
}

inline void leave_unfinished(
    const std::filesystem::path& path, bool overwrite, const std::string& fingerprint) {
  be_killed(path, overwrite, fingerprint, [](OutputFolder& output) {
    add_shard(output, "vae/0.safetensors", "shard 0");
    add_shard(output, "vae/1.safetensors", "shard 1");
  });
}

inline void save_whole(
    const std::filesystem::path& path, bool overwrite, const std::string& fingerprint) {
  OutputFolder output(path, overwrite, {}, fingerprint);
  output.create();
  output.publish({{"vae/index.json", "i"}});
  output.finish();
}

// Names in the folder that hold ".mflux-new-" or ".mflux-old-".
inline std::vector<std::string> beside(const TempDir& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    const std::string name = entry.path().filename().string();
    if (contains(name, ".mflux-new-") || contains(name, ".mflux-old-")) names.push_back(name);
  }
  return names;
}

}  // namespace mflux::testing
