// SPDX-License-Identifier: MIT
// The program while it runs: in a folder and an environment of its own, and to be signalled.
//
//   Process save({.arguments = {"save", "--model", "m", "--path", "out"}});
//   save.signal(SIGINT);
//   CHECK(save.wait().status == 130);
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tests/program.h"

namespace mflux::testing {

struct ProgramCall {
  std::vector<std::string> arguments = {};
  std::vector<std::string> program = {MFLUX_PROGRAM};                 // and what it is called by
  std::filesystem::path folder = {};                                  // working folder; empty: ours
  std::vector<std::pair<std::string, std::string>> environment = {};  // on top of ours
};

class Process {
 public:
  explicit Process(const ProgramCall& call);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();  // kills what still runs

  void signal(int number) const;
  bool running();  // false also makes the result of wait() available
  // Its exit status, or 1000 + the signal that ended it. What has not ended in time is killed, and
  // the test fails.
  ProgramRun wait(std::chrono::seconds limit = std::chrono::seconds(60));

 private:
  TempDir output_;
  int pid_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

constexpr int kKilled = 1000 + 9;

ProgramRun run_program(const ProgramCall& call);

// Polls until `condition()` holds; false if the process ended before.
template <typename Condition>
bool wait_until(Process& process, Condition condition) {
  while (!condition()) {
    if (!process.running()) return false;
  }
  return true;
}

}  // namespace mflux::testing
