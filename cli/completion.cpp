// SPDX-License-Identifier: MIT
// The subcommands `completion` and `manual`: what is made from the option table.
#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/manual.h"
#include "mflux/base/error.h"
#include "mflux/base/file.h"

namespace mflux::cli {
namespace {

int print_completion(const Manual& manual, const std::string& shell) {
  std::string script;
  if (shell == "bash") script = bash_completion(manual);
  if (shell == "zsh") script = zsh_completion(manual);
  if (shell == "fish") script = fish_completion(manual);
  if (script.empty()) fail(ErrorKind::usage, "the shell '{}' is not bash, zsh or fish", shell);
  fmt::print("{}", script);
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
  auto shell = std::make_shared<std::string>();
  app.add_option("shell", *shell, "The shell")->required()->type_name("bash|zsh|fish");
  return [&app, shell] { return print_completion(read_manual(*app.get_parent()), *shell); };
}

Command add_manual(CLI::App& app, const Program&) {
  auto folder = std::make_shared<std::string>();
  app.add_option("folder", *folder, "Where to write them")->required()->type_name("FOLDER");
  return [&app, folder]() -> int {
    write_pages(read_manual(*app.get_parent()), *folder);
    return ExitStatus::done;
  };
}

}  // namespace mflux::cli
