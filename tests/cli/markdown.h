// SPDX-License-Identifier: MIT
// The pages of the source tree, taken apart as far as they use Markdown.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace mflux::testing {

using TableRow = std::vector<std::string>;  // its cells, without the blanks around them

struct Page {
  std::string name = {};                              // "docs/saving.md"
  std::vector<std::vector<std::string>> blocks = {};  // of code: fenced, or indented by four
  std::vector<std::string> spans = {};                // `code` in the text and in tables
  std::vector<std::vector<TableRow>> tables = {};     // the first row is the header
  // Of list items that begin with code: what stands before a line break ("\" at the end of a line);
  // the whole item, if it has none.
  std::vector<std::string> terms = {};
  std::vector<std::string> links = {};  // targets, of pictures too
  std::set<std::string> anchors = {};   // of headings, as GitHub makes them
};

std::filesystem::path source_folder();

Page read_page(const std::filesystem::path& root, const std::string& name);
// All .md files below `root` but those in build/ and hidden folders, by name.
std::vector<Page> pages_below(const std::filesystem::path& root);

std::vector<std::string> spans_of(const std::string& text);
std::vector<std::string> words_of(const std::string& text);  // between blanks

// What of the pages' relative links leads nowhere: lines "page: target".
std::string broken_links(const std::filesystem::path& root);

}  // namespace mflux::testing
