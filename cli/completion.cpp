// SPDX-License-Identifier: MIT
// The subcommands `completion` and `manual`: what is made from the option table.
#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/manual.h"
#include "cli/streams.h"
#include "mflux/base/error.h"
#include "mflux/base/file.h"

namespace mflux::cli {
namespace {

struct Arguments {
  std::string value;  // the shell, or the folder
  bool without_names = false;
};

void add_without_names(CLI::App& app, Arguments& arguments) {
  app.add_flag(
      "--without-names",
      arguments.without_names,
      "Leave out the other names of the program, some of which Python's mflux has too");
}

Manual manual_of(const CLI::App& app, const Arguments& arguments) {
  Manual manual = read_manual(*app.get_parent());
  if (arguments.without_names) {
    for (ManualCommand& command : manual.commands) command.links.clear();
  }
  return manual;
}

int print_completion(const Manual& manual, const std::string& shell) {
  std::string script;
  if (shell == "bash") script = bash_completion(manual);
  if (shell == "zsh") script = zsh_completion(manual);
  if (shell == "fish") script = fish_completion(manual);
  if (script.empty()) fail(ErrorKind::usage, "the shell '{}' is not bash, zsh or fish", shell);
  write_result(script);
  return ExitStatus::done;
}

void write_pages(const Manual& manual, const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  const auto write = [&](const std::string& name, const std::string& page) {
    write_text_atomically(folder / (name + ".1"), page);
  };
  write("mflux", man_page(manual, manual.program));
  for (const ManualCommand& command : manual.commands) {
    const std::string page = man_page(manual, command);
    write("mflux-" + command.name, page);
    for (const std::string& link : command.links) write(link, page);
  }
}

}  // namespace

Command add_completion(CLI::App& app, const Program&) {
  auto arguments = std::make_shared<Arguments>();
  app.add_option("shell", arguments->value, "The shell")->required()->type_name("bash|zsh|fish");
  add_without_names(app, *arguments);
  return
      [&app, arguments] { return print_completion(manual_of(app, *arguments), arguments->value); };
}

Command add_manual(CLI::App& app, const Program&) {
  auto arguments = std::make_shared<Arguments>();
  app.add_option("folder", arguments->value, "Where to write them")
      ->required()
      ->type_name("FOLDER");
  add_without_names(app, *arguments);
  return [&app, arguments]() -> int {
    write_pages(manual_of(app, *arguments), arguments->value);
    return ExitStatus::done;
  };
}

}  // namespace mflux::cli
