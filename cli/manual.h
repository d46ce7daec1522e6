// SPDX-License-Identifier: MIT
// The option table as plain data, read from the parser; what is made from it: manual pages and the
// completion scripts of shells.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace mflux::cli {

struct ManualOption {
  std::vector<std::string> names = {};  // "-q", "--quantize"; of an argument: "FOLDER"
  // What its values are called, in order: "2|4|8" for a choice; "[STRENGTH]" may be left out. None:
  // a flag. `value_kind()` knows what each may be.
  std::vector<std::string> values = {};
  bool many = false;      // the values may be repeated
  bool argument = false;  // stands without a name
  std::string description = {};
  std::string standard = {};  // used without the option; "": nothing to say
  std::string group = {};
};

struct ManualCommand {
  std::string name = {};  // of the subcommand; "" for the program itself
  std::string help = {};
  std::vector<std::string> links = {};  // other names of the program that mean this subcommand
  std::vector<ManualOption> options = {};
};

struct Manual {
  std::string version = {};
  ManualCommand program = {};
  std::vector<ManualCommand> commands = {};
};

Manual read_manual(const CLI::App& program);

// Every name of the program, with spaces between.
std::string program_names(const Manual& manual);

// What a shell may offer for a value: words, folders, files with one of the endings (none: any).
struct ValueKind {
  std::vector<std::string> words = {};
  bool folders = false;
  bool files = false;
  std::vector<std::string> endings = {};  // without the dot
};
ValueKind value_kind(std::string_view value);

// A page of section 1 in roff; `command` is one of the manual's or its program.
std::string man_page(const Manual& manual, const ManualCommand& command);

std::string bash_completion(const Manual& manual);
std::string zsh_completion(const Manual& manual);
std::string fish_completion(const Manual& manual);

}  // namespace mflux::cli
