// SPDX-License-Identifier: MIT
// The parser of the whole program: one table of subcommands and of the names it may be called
// under.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "cli/commands.h"

namespace mflux::cli {

// Called under one of these names, the program is that subcommand.
struct ProgramName {
  std::string_view name;
  std::string_view subcommand;
  std::string_view family;  // the only one it takes; "": any
  std::string_view model;   // what it makes pictures with if none is named
};

constexpr std::array<ProgramName, 4> kProgramNames = {{
    {"mflux-save", "save", "", ""},
    {"mflux-save-qwen", "save", "qwen", ""},
    {"mflux-generate", "generate", "", ""},
    {"mflux-generate-qwen", "generate", "qwen", "qwen-image"},
}};

struct ParsedCommand {
  CLI::App* app;
  Command run;
};

// Adds every subcommand with its options to `app`, which is the whole option table: what --help
// shows, and what manual pages and completions are made from.
std::vector<ParsedCommand> add_subcommands(CLI::App& app, const Program& program);

// Parses and runs; the exit status. arguments[0] is the name the program was called under.
int run_program(std::vector<std::string> arguments);

}  // namespace mflux::cli
