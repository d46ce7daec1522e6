// SPDX-License-Identifier: MIT
// What a manual page says besides its options, which come from the parser.
#pragma once

#include <span>
#include <string_view>

namespace mflux::cli {

struct Example {
  std::string_view what;
  std::string_view command;
};

struct ManualText {
  std::string_view command;                 // of the subcommand; "": the whole program
  std::string_view about;                   // paragraphs, an empty line between two
  std::span<const Example> examples;        // shown by --help too
  std::span<const std::string_view> pages;  // files in docs/ that say more
};

// Throws if the subcommand has none.
const ManualText& manual_text(std::string_view command);

struct ExitStatusText {
  int status;
  std::string_view meaning;
};
std::span<const ExitStatusText> exit_status_texts();

}  // namespace mflux::cli
