// SPDX-License-Identifier: MIT
// The messages that docs/ quotes are those of the program: each is provoked. When a message
// changes, change its row in docs/; when a row is new, say in docs_provoked.cpp how to provoke it.
#include <algorithm>
#include <cctype>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/cli/docs_provoked.h"
#include "tests/cli/help.h"
#include "tests/cli/markdown.h"

namespace mflux::testing {
namespace {

struct Quoted {
  std::string page;
  std::string message;
};

// The first column of every table of messages, what list items explain, blocks that begin with one,
// and what the text quotes of those that are provoked here.
std::vector<Quoted> quoted_messages() {
  std::vector<Quoted> quoted;
  for (const Page& page : pages_below(source_folder())) {
    for (const auto& table : page.tables) {
      if (table.front().front() != "message") continue;
      for (auto row = std::next(table.begin()); row != table.end(); ++row) {
        for (const std::string& message : spans_of(row->front()))
          quoted.push_back({page.name, message});
      }
    }
    for (const std::string& term : page.terms) {
      for (const std::string& message : spans_of(term)) quoted.push_back({page.name, message});
    }
    for (const std::string& span : page.spans) {
      const bool known = std::ranges::any_of(provoked_messages(), [&](const Provoked& provoked) {
        return contains(span, provoked.part);
      });
      if (known) quoted.push_back({page.name, span});
    }
    for (const auto& block : page.blocks) {
      if (!block.empty() && block.front().starts_with("Cannot ")) {
        for (const std::string& line : block) quoted.push_back({page.name, line});
      }
    }
  }
  return quoted;
}

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

// Of a message as the pages write it: "..." is any text, a number any number, a capital letter
// alone (F, N, T) and a name of tensors whatever stands there.
std::string pattern_of(const std::string& message) {
  static const std::regex kToken(R"(\.\.\.|[0-9]+(\.[0-9]+)?|[A-Za-z]\w*(\.\w+){4,}|\w+|[^])");
  std::string pattern;
  for (std::sregex_iterator it(message.begin(), message.end(), kToken), end; it != end; ++it) {
    const std::string token = it->str();
    const bool is_digit = std::isdigit(static_cast<unsigned char>(token[0])) != 0;
    const bool is_letter =
        token.size() == 1 && std::isupper(static_cast<unsigned char>(token[0])) != 0;
    if (token == "...")
      pattern += ".*";
    else if (is_digit)
      pattern += R"([0-9]+(\.[0-9]+)?)";
    else if (is_letter)
      pattern += ".+";
    else if (std::ranges::count(token, '.') >= 4)
      pattern += R"([\w.]+)";
    else
      pattern += is_word(token[0]) || token == " " ? token : "\\" + token;
  }
  return pattern;
}

bool says(const ProgramRun& run, const std::string& message) {
  const std::regex pattern(pattern_of(message));
  const ProgramRun all{.out = run.out + run.err + "\n"};
  return std::ranges::any_of(
      all.lines(), [&](const std::string& line) { return std::regex_search(line, pattern); });
}

TEST_CASE("a quoted message matches what it stands for and nothing else") {
  const auto matches = [](const char* message, const std::string& line) {
    return says({.out = line}, message);
  };
  CHECK(matches("F: has 2 of N ...", "a/b.safetensors: has 31 of 4.5 GB"));
  CHECK(matches("(a [b] 'T')", "error: (a [b] 'x.y') is"));
  CHECK(matches("merge a.b.0.c.d: e", "Cannot merge transformer.blocks.12.attn.to_q: e"));
  CHECK_FALSE(matches("has 2 files", "has two files"));
  CHECK_FALSE(matches("F: has files", ": has files"));
  CHECK_FALSE(matches("has. files", "hash files"));
  CHECK_FALSE(matches("one ... two", "one\ntwo"));
}

TEST_CASE("every message that the pages quote is one of the program's") {
  const std::vector<std::string> commands = subcommands();
  const bool can_draw = std::ranges::find(commands, "generate") != commands.end();
  const std::vector<Quoted> quoted = quoted_messages();
  for (const Provoked& provoked : provoked_messages()) {
    CAPTURE(std::string(provoked.part));
    if (provoked.picture && !can_draw) {
      MESSAGE("skipped, as this program was built without generate");
      continue;
    }
    const ProgramRun run = provoke(provoked);
    if (contains(provoked.part, "bfloat16") && run.status == 0) {
      MESSAGE("skipped: this CPU multiplies bfloat16");
      continue;
    }
    CAPTURE(run.out);
    CAPTURE(run.err);
    CHECK(run.status == provoked.status);
    size_t rows = 0;
    for (const Quoted& row : quoted) {
      if (!contains(row.message, provoked.part)) continue;
      CHECK_MESSAGE(says(run, row.message), row.page << " quotes: " << row.message);
      ++rows;
    }
    CHECK(rows >= 1);
  }
}

TEST_CASE("how to provoke it is known of every message that the pages quote") {
  const std::vector<Quoted> quoted = quoted_messages();
  CHECK(quoted.size() >= 38);
  for (const Quoted& row : quoted) {
#if !defined(__linux__)
    if (contains(row.message, "not enough space")) continue;  // needs /proc
#endif
    CAPTURE(row.page);
    CAPTURE(row.message);
    CHECK(std::ranges::count_if(provoked_messages(), [&](const Provoked& provoked) {
            return contains(row.message, provoked.part);
          }) == 1);
  }
}

}  // namespace
}  // namespace mflux::testing
