// SPDX-License-Identifier: MIT
// The program as its users run it.
#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/testing.h"

namespace mflux::testing {

struct ProgramRun {
  int status = 0;
  std::string out = {};
  std::string err = {};

  std::vector<std::string> lines() const {  // of `out`
    std::vector<std::string> result;
    size_t begin = 0;
    for (size_t end = 0; (end = out.find('\n', begin)) != std::string::npos; begin = end + 1) {
      result.push_back(out.substr(begin, end - begin));
    }
    return result;
  }
};

// The arguments go through no shell expansion. `program`: a link to it has another name.
inline ProgramRun run_program(
    const std::vector<std::string>& arguments, const std::string& program = MFLUX_PROGRAM) {
  const TempDir folder;
  std::string command = "'" + program + "'";
  for (const std::string& argument : arguments) {
    REQUIRE(argument.find('\'') == std::string::npos);
    command += " '" + argument + "'";
  }
  command += " >'" + (folder / "out").string() + "' 2>'" + (folder / "err").string() + "'";
  const int result = std::system(command.c_str());
  REQUIRE(WIFEXITED(result));
  return {WEXITSTATUS(result), read_file(folder / "out"), read_file(folder / "err")};
}

}  // namespace mflux::testing
