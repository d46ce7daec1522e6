// SPDX-License-Identifier: MIT
// What the pages name is there: links, options, subcommands, models.
#include <algorithm>
#include <filesystem>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "mflux/models/family.h"
#include "tests/cli/help.h"
#include "tests/cli/markdown.h"

namespace mflux::testing {
namespace {

namespace fs = std::filesystem;

TEST_CASE("what is code, a table, a link and an anchor of a page is seen") {
  const TempDir folder;
  write_file(
      folder / "a.md",
      "# One `two`: 3\n\ntext `x\ny`, [b](b.md#part), [gone](gone.md), [here](#one-two-3)\n\n"
      "| m | n |\n|---|---|\n| `a|b` | [c](b.md#none) |\n\n```\nmflux save\n# [no](link)\n```\n\n"
      "    indented\n- `m`, \\\n  no\n- `o`\n  p\n- q\n  r\n");
  write_file(folder / "b.md", "## Part\n[out](https://example.org) [up](../b.md)\n");
  const Page page = read_page(folder.path(), "a.md");
  CHECK(
      page.blocks ==
      std::vector<std::vector<std::string>>{{"mflux save", "# [no](link)"}, {"indented"}});
  CHECK(page.spans == std::vector<std::string>{"two", "x y", "a|b", "m", "o"});
  CHECK(page.terms == std::vector<std::string>{"- `m`, \\\n", "- `o`\n  p\n"});
  REQUIRE(page.tables.size() == 1);
  CHECK(page.tables[0] == std::vector<TableRow>{{"m", "n"}, {"`a|b`", "[c](b.md#none)"}});
  CHECK(broken_links(folder.path()) == "a.md: gone.md\na.md: b.md#none\nb.md: ../b.md\n");
}

// Of UTF-8: bytes that begin a character.
size_t characters(const std::string& line) {
  return static_cast<size_t>(std::ranges::count_if(
      line, [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
}

std::string long_lines(const fs::path& root) {
  constexpr size_t kMost = 139;
  std::string found;
  for (const Page& page : pages_below(root)) {
    std::istringstream text(read_file(root / page.name));
    size_t number = 0;
    for (std::string line; std::getline(text, line);) {
      ++number;
      if (characters(line) > kMost) found += fmt::format("{}:{}\n", page.name, number);
    }
  }
  return found;
}

TEST_CASE("lines of the pages are below 140 characters") {
  const TempDir folder;
  std::string umlauts;
  for (size_t i = 0; i < 139; ++i) umlauts += "\u00fc";
  write_file(folder / "a.md", std::string(139, 'a') + "\n" + umlauts + "\n");
  CHECK(long_lines(folder.path()) == "");
  write_file(folder / "b.md", "b\n" + std::string(140, 'b') + "\n" + umlauts + "u");
  CHECK(long_lines(folder.path()) == "b.md:2\nb.md:3\n");
  CHECK(long_lines(source_folder()) == "");
}

TEST_CASE("every link in a page leads to a file and a heading") {
  CHECK(pages_below(source_folder()).size() >= 15);
  CHECK(broken_links(source_folder()) == "");
}

TEST_CASE("every link in an installed page leads to what is installed too") {
  if (!is_installed("cmake")) {
    MESSAGE("skipped: there is no cmake to install with");
    return;
  }
  const TempDir folder;
  const ProgramRun run = run_program(
      {"--install",
       fs::path(MFLUX_PROGRAM).parent_path().string(),
       "--component",
       "documentation",
       "--prefix",
       folder.path().string()},
      "cmake");
  REQUIRE_MESSAGE(run.status == 0, run.err);
  CHECK(pages_below(folder.path()).size() >= 12);
  CHECK(broken_links(folder.path()) == "");
}

bool makes_pictures() {
  const std::vector<std::string> names = subcommands();
  return std::ranges::find(names, "generate") != names.end();
}

// Spans and lines of code that are about this program: "mflux ..." or "--option ...".
std::vector<std::string> code_about_mflux(const Page& page) {
  const std::regex about(R"(^(build/)?mflux(-(save|generate)(-qwen)?)?( .*)?$|^--?[a-zA-Z].*$)");
  std::vector<std::string> found;
  const auto add = [&](const std::string& text) {
    if (std::regex_match(text, about)) found.push_back(text);
  };
  for (const std::string& span : page.spans) add(span);
  for (const auto& block : page.blocks) {
    for (const std::string& line : block) add(line);
  }
  return found;
}

TEST_CASE("every option and subcommand that a page names is the program's") {
  if (!makes_pictures()) {
    MESSAGE("skipped: this program was built without generate, whose options the pages name");
    return;
  }
  std::set<std::string> commands;
  std::set<std::string> options = {"--help", "--version"};
  for (const std::string& command : subcommands()) {
    commands.insert(command);
    for (const HelpOption& option : options_of({command})) {
      options.insert(option.names.begin(), option.names.end());
    }
  }
  size_t seen = 0;
  const std::regex option(R"(^(--[a-z][a-z0-9-]*|-[A-Za-z])([=,.:;].*)?$)");
  for (const Page& page : pages_below(source_folder())) {
    if (!page.name.starts_with("docs/") && page.name != "README.md") continue;
    for (const std::string& code : code_about_mflux(page)) {
      CAPTURE(page.name);
      CAPTURE(code);
      const std::vector<std::string> words = words_of(code);
      if (words.size() > 1 && words[0].ends_with("mflux") && !words[1].starts_with("-"))
        CHECK(commands.contains(words[1]));
      for (const std::string& word : words) {
        std::smatch match;
        if (!std::regex_match(word, match, option)) continue;
        CHECK_MESSAGE(options.contains(match[1]), word);
        ++seen;
      }
    }
  }
  CHECK(seen >= 150);
}

// Rows "`name`, `name` | `owner/repo`".
TEST_CASE("the names of models in docs/saving.md mean what the program takes them for") {
  size_t names = 0;
  for (const auto& table : read_page(source_folder(), "docs/saving.md").tables) {
    if (table.front().front() != "name") continue;
    for (const TableRow& row : std::vector(table.begin() + 1, table.end())) {
      for (const std::string& name : spans_of(row.at(0))) {
        CAPTURE(name);
        const models::KnownModel* known = models::find_known_model(name);
        REQUIRE(known != nullptr);
        CHECK("`" + std::string(known->repository) + "`" == row.at(1));
        ++names;
      }
    }
  }
  CHECK(names == 19);
}

TEST_CASE("the help of every command that takes a name says which Qwen-Image it is") {
  for (const std::string command : {"save", "generate"}) {
    if (command == "generate" && !makes_pictures()) continue;
    CHECK(contains(run_program({command, "--help"}).out, "qwen-image is Qwen-Image-2512"));
  }
}

}  // namespace
}  // namespace mflux::testing
