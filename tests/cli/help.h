// SPDX-License-Identifier: MIT
// The option table as users see it: what --help of each subcommand lists.
#pragma once

#include <regex>
#include <string>
#include <vector>

#include "tests/program.h"

namespace mflux::testing {

struct HelpOption {
  std::vector<std::string> names = {};  // "-q", "--quantize"
  std::string value = {};               // "2|3|4", "LORA [SCALE] ..."; of a flag empty
};

inline std::vector<HelpOption> options_of(const std::vector<std::string>& command) {
  std::vector<std::string> arguments = command;
  arguments.push_back("--help");
  const ProgramRun run = run_program(arguments);
  REQUIRE(run.status == 0);
  const std::regex pattern(R"(^  (-[^ ]+)(?: ([^ ]+(?: [^ ]+)*))?(?:  +.*)?$)");
  std::vector<HelpOption> options;
  for (const std::string& line : run.lines()) {
    std::smatch match;
    if (!std::regex_match(line, match, pattern)) continue;
    HelpOption option{.value = match[2]};
    const std::string list = match[1];
    const std::regex comma(",");
    for (std::sregex_token_iterator it(list.begin(), list.end(), comma, -1), end; it != end; ++it) {
      option.names.push_back(*it);
    }
    options.push_back(option);
  }
  REQUIRE(options.size() >= 1);
  return options;
}

inline std::vector<std::string> subcommands() {
  const ProgramRun run = run_program({"--help"});
  std::vector<std::string> names;
  bool listed = false;
  for (const std::string& line : run.lines()) {
    if (listed && line.starts_with("  ")) names.push_back(line.substr(2, line.find(' ', 2) - 2));
    listed = listed || line == "Subcommands:";
  }
  REQUIRE(names.size() >= 6);
  return names;
}

// The words of "a|b|c".
inline std::vector<std::string> choices(const std::string& value) {
  std::vector<std::string> words;
  const std::regex bar("\\|");
  for (std::sregex_token_iterator it(value.begin(), value.end(), bar, -1), end; it != end; ++it) {
    words.push_back(*it);
  }
  return words;
}

inline bool is_installed(const std::string& program) {
  return run_program({"-c", "command -v " + program}, "sh").status == 0;
}

}  // namespace mflux::testing
