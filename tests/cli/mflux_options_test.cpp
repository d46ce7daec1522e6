// SPDX-License-Identifier: MIT
// docs/mflux-options.md against what the program takes.
#include <algorithm>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include <doctest/doctest.h>

#include "tests/cli/help.h"
#include "tests/program.h"

namespace mflux::cli {
namespace {

using testing::options_of;
using testing::read_file;

std::set<std::string> names_of(const std::string& command) {
  std::set<std::string> names;
  for (const testing::HelpOption& option : options_of({command})) {
    names.insert(option.names.begin(), option.names.end());
  }
  return names;
}

TEST_CASE("every option of Python's mflux in the docs is one of the command it is listed for") {
  const std::set<std::string> save = names_of("save");
  const bool pictures = std::ranges::count(testing::subcommands(), "generate") != 0;
  const std::set<std::string> generate = pictures ? names_of("generate") : std::set<std::string>();
  std::istringstream page(read_file(MFLUX_TEST_DATA "/../../docs/mflux-options.md"));
  const std::regex row("^\\| (.*) \\| (both|save|generate) \\|$");
  const std::regex name("`(-[a-zA-Z-]*[a-zA-Z])`");
  size_t found = 0;
  for (std::string line; std::getline(page, line);) {
    std::smatch match;
    if (!std::regex_match(line, match, row)) continue;
    const std::string cells = match[1];
    const std::string command = match[2];
    for (std::sregex_iterator it(cells.begin(), cells.end(), name), end; it != end; ++it) {
      const std::string option = (*it)[1];
      CAPTURE(option);
      ++found;
      if (command != "generate") CHECK(save.count(option) == 1);
      if (command != "save" && pictures) CHECK(generate.count(option) == 1);
    }
  }
  CHECK(found > 30);
}

TEST_CASE("an option of Python's mflux that this program does not have is refused") {
  for (const char* option : {"--lora-style", "--mlx-cache-limit-gb", "--step-cache-ratio"}) {
    CAPTURE(option);
    CHECK(testing::run_program({"save", "--model", "x", option, "1"}).status == 2);
  }
}

}  // namespace
}  // namespace mflux::cli
