// SPDX-License-Identifier: MIT
#include "cli/generate_files.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <iostream>
#include <span>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/base/utf8.h"

namespace mflux::cli {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kSeed = "{seed}";

// Windows' editors write UTF-16 where somebody says "Unicode"; without its mark it has zeros.
void check_encoding(std::string_view text, const std::string& name) {
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) {
    fail("{}: is UTF-16, expected UTF-8: save it again in that encoding", name);
  }
  if (const size_t at = invalid_utf8(text); at != text.npos) {
    fail("{}: byte {} is not UTF-8, expected text in that encoding", name, at);
  }
  if (const size_t at = text.find('\0'); at != text.npos) {
    fail("{}: byte {} is zero, expected text in UTF-8", name, at);
  }
}

// \r\n and \r, as Python's text files.
std::string with_line_feeds(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    out += text[i] == '\r' ? '\n' : text[i];
  }
  return out;
}

// Of a file, or of what may have no end.
std::string read_input(const std::string& file, const std::string& name) {
  constexpr size_t kMost = 1'000'000;  // bytes; of a prompt with all that is stripped from it
  std::string text(kMost + 1, '\0');
  if (file == "-") {
    std::cin.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<size_t>(std::cin.gcount()));
  } else {
    const File input = File::open(file);
    text.resize(static_cast<size_t>(std::min<uint64_t>(input.size(), text.size())));
    input.read(0, std::as_writable_bytes(std::span(text)));
  }
  if (text.size() <= kMost) return text;
  fail("{}: has more than {} bytes, expected a prompt", name, kMost);
}

}  // namespace

std::string read_prompt(const std::string& file) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  const std::string name = file == "-" ? "standard input" : file;
  const std::string read = read_input(file, name);
  check_encoding(read, name);
  std::string_view text = read;
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  std::string prompt = with_line_feeds(stripped(text));
  if (prompt.empty()) fail("{}: is empty, expected a prompt", name);
  return prompt;
}

void check_text(std::string_view option, std::string_view text) {
  const size_t at = invalid_utf8(text);
  if (at == text.npos) return;
  fail(ErrorKind::usage, "{}: byte {} is not UTF-8, expected text in that encoding", option, at);
}

void check_output(const fs::path& output) {
  std::string suffix = output.extension().string();
  std::ranges::transform(
      suffix, suffix.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (suffix != ".png") {
    fail(ErrorKind::usage, "--output {}: pictures are written as .png", output.string());
  }
  const fs::path folder = output.has_parent_path() ? output.parent_path() : fs::path(".");
  if (!fs::is_directory(folder)) fail("{}: no such folder", folder.string());
  if (::access(folder.c_str(), W_OK) != 0) fail("{}: the folder is not writable", folder.string());
}

fs::path picture_path(const fs::path& output, uint64_t seed, bool several_seeds) {
  std::string stem = output.stem().string();
  if (const size_t at = stem.find(kSeed); at != stem.npos) {
    stem.replace(at, kSeed.size(), std::to_string(seed));
  } else if (several_seeds) {
    stem += "_seed_" + std::to_string(seed);
  }
  const auto named = [&](const std::string& name) {
    return output.parent_path() / (name + output.extension().string());
  };
  fs::path path = named(stem);
  for (int number = 1; fs::exists(path); ++number) {
    path = named(stem + "_" + std::to_string(number));
  }
  return path;
}

}  // namespace mflux::cli
