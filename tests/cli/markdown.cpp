// SPDX-License-Identifier: MIT
#include "tests/cli/markdown.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <regex>
#include <sstream>

#include "tests/testing.h"

namespace mflux::testing {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t");
  return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
}

// "Before you write: `--dry-run`" -> "before-you-write---dry-run"
std::string anchor_of(const std::string& heading) {
  std::string anchor;
  for (const char c : heading) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '_')
      anchor += static_cast<char>(std::tolower(byte));
    if (c == ' ') anchor += '-';
  }
  return anchor;
}

// "| a | `b|c` |" -> "a", "`b|c`"
TableRow cells_of(const std::string& line) {
  TableRow cells(1);
  bool code = false;
  for (const char c : line.substr(1)) {
    if (c == '`') code = !code;
    if (c == '|' && !code)
      cells.emplace_back();
    else
      cells.back() += c;
  }
  cells.pop_back();  // what stands behind the last bar
  for (std::string& cell : cells) cell = trimmed(cell);
  return cells;
}

bool is_rule(const TableRow& row) {  // "|---|---|"
  return std::ranges::all_of(row, [](const std::string& cell) {
    return !cell.empty() && cell.find_first_not_of("-:") == cell.npos;
  });
}

// Goes through a page line by line; what is not code comes together in `text`.
class Reader {
 public:
  explicit Reader(Page& page) : page_(page) {}

  void read(const std::string& line) {
    if (line.starts_with("```")) {
      if (!fenced_) page_.blocks.emplace_back();
      fenced_ = !fenced_;
    } else if (fenced_) {
      page_.blocks.back().push_back(line);
    } else if (line.starts_with("    ") && (indented_ || before_.empty())) {
      if (!indented_) page_.blocks.emplace_back();
      indented_ = true;
      page_.blocks.back().push_back(line.substr(4));
    } else {
      indented_ = false;
      read_text(line);
    }
    before_ = line;
  }

  const std::string& text() const { return text_; }

 private:
  void read_text(const std::string& line) {
    text_ += line + "\n";
    read_term(line);
    if (line.starts_with("#"))
      page_.anchors.insert(anchor_of(trimmed(line.substr(line.find(' ')))));
    if (!line.starts_with("|")) {
      in_table_ = false;
      return;
    }
    if (!in_table_) page_.tables.emplace_back();
    in_table_ = true;
    const TableRow row = cells_of(line);
    if (!is_rule(row)) page_.tables.back().push_back(row);
  }

  void read_term(const std::string& line) {
    const bool begins = line.starts_with("- `");
    if (begins) page_.terms.emplace_back();
    in_term_ = begins || (in_term_ && line.starts_with("  "));
    if (!in_term_) return;
    page_.terms.back() += line + "\n";
    if (line.ends_with("\\")) in_term_ = false;
  }

  Page& page_;
  std::string text_ = {};
  std::string before_ = {};
  bool fenced_ = false;
  bool indented_ = false;
  bool in_table_ = false;
  bool in_term_ = false;
};

}  // namespace

fs::path source_folder() {
  return fs::path(MFLUX_TEST_DATA).parent_path().parent_path();
}

std::vector<std::string> spans_of(const std::string& text) {
  std::vector<std::string> spans;
  const std::regex pattern("`([^`]+)`");
  for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it) {
    spans.push_back(std::regex_replace((*it)[1].str(), std::regex("\\n *"), " "));
  }
  return spans;
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), std::istream_iterator<std::string>()};
}

Page read_page(const fs::path& root, const std::string& name) {
  Page page{.name = name};
  Reader reader(page);
  for (const std::string& line : lines_of(read_file(root / name))) reader.read(line);
  page.spans = spans_of(reader.text());
  const std::string prose = std::regex_replace(reader.text(), std::regex("`[^`]+`"), "");
  const std::regex link(R"(\]\(([^)\s]+)\))");
  for (std::sregex_iterator it(prose.begin(), prose.end(), link), end; it != end; ++it) {
    page.links.push_back((*it)[1]);
  }
  return page;
}

std::vector<Page> pages_below(const fs::path& root) {
  std::vector<std::string> names;
  for (fs::recursive_directory_iterator it(root), end; it != end; ++it) {
    const std::string name = it->path().filename().string();
    if (it->is_directory() && (name == "build" || name.starts_with(".")))
      it.disable_recursion_pending();
    else if (name.ends_with(".md"))
      names.push_back(it->path().lexically_relative(root).string());
  }
  std::ranges::sort(names);
  std::vector<Page> pages;
  for (const std::string& name : names) pages.push_back(read_page(root, name));
  return pages;
}

std::string broken_links(const fs::path& root) {
  std::string broken;
  for (const Page& page : pages_below(root)) {
    for (const std::string& link : page.links) {
      if (link.find("://") != link.npos) continue;
      const size_t hash = std::min(link.find('#'), link.size());
      const fs::path target =
          hash == 0 ? fs::path(page.name)
                    : (fs::path(page.name).parent_path() / link.substr(0, hash)).lexically_normal();
      const bool leads = fs::exists(root / target) &&
                         (hash == link.size() ||
                          read_page(root, target.string()).anchors.contains(link.substr(hash + 1)));
      if (!leads) broken += page.name + ": " + link + "\n";
    }
  }
  return broken;
}

}  // namespace mflux::testing
