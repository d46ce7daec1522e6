// SPDX-License-Identifier: MIT
// Before a text is parsed one pass over its bytes looks at brackets, commas, colons and strings:
// how deep it nests, and about how much memory nlohmann's tree of it would take (the constants
// below are upper bounds per value, with malloc's own bytes). So a file of "[[[[" or of a million
// empty lists is refused before anything is built, in time proportional to its size.
#include "mflux/base/json.h"

#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/base/utf8.h"

namespace mflux {
namespace {

using Json = nlohmann::json;

// Upper bounds of what a value takes on the heap, malloc's own bytes included.
constexpr uint64_t kItemBytes = 32;  // of a list, which has room for more
constexpr uint64_t kListBytes = 64;
constexpr uint64_t kObjectBytes = 64;
constexpr uint64_t kMemberBytes = 96;  // of an object, with a short key
constexpr uint64_t kStringBytes = 48;
constexpr size_t kShortString = 15;  // what a std::string holds without memory of its own

constexpr uint64_t kMostBesides = 300'000;

// What a text would become. The text need not be valid: only brackets, commas, colons and strings
// are looked at.
struct Outline {
  size_t too_deep = std::string_view::npos;  // the byte
  uint64_t memory = 0;                       // bytes
};

// Where the string ends whose quote is at `at`.
size_t string_end(std::string_view text, size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at;
}

Outline outline_of(std::string_view text, size_t most_depth) {
  Outline outline;
  std::vector<bool> in_list;  // for each open bracket
  for (size_t at = 0; at < text.size(); ++at) {
    switch (text[at]) {
      case '"': {
        const size_t end = string_end(text, at);
        const bool is_short = end - at - 1 <= kShortString;
        outline.memory += kStringBytes + (is_short ? 0 : end - at + kShortString);
        at = end;
        break;
      }
      case '[':
      case '{':
        if (in_list.size() == most_depth) {
          outline.too_deep = at;
          return outline;
        }
        in_list.push_back(text[at] == '[');
        outline.memory += text[at] == '[' ? kListBytes : kObjectBytes;
        break;
      case ']':
      case '}':
        if (!in_list.empty()) in_list.pop_back();
        break;
      case ',':
        if (!in_list.empty() && in_list.back()) outline.memory += kItemBytes;
        break;
      case ':':
        outline.memory += kMemberBytes - kStringBytes;  // the key was counted as a string
        break;
      default:
        break;
    }
  }
  return outline;
}

// nlohmann's lexer takes a zero byte for the end of the text and would not look behind it.
std::string encoding_problem(std::string_view text) {
  if (const size_t at = invalid_utf8(text); at != text.npos) {
    return fmt::format("is not valid JSON: byte {} is not UTF-8", at);
  }
  if (const size_t at = text.find('\0'); at != text.npos) {
    return fmt::format("is not valid JSON: byte {} is zero", at);
  }
  return "";
}

std::string depth_problem(const Outline& outline, JsonLimits limits) {
  if (outline.too_deep == std::string_view::npos) return "";
  return fmt::format(
      "nests more than {} lists and objects in JSON, at its byte {}",
      limits.depth,
      outline.too_deep);
}

std::string memory_problem(const Outline& outline, uint64_t bytes, JsonLimits limits) {
  const uint64_t most = limits.times * bytes + kMostBesides;
  if (outline.memory <= most) return "";
  return fmt::format(
      "holds so many values in {} bytes of JSON that they would take {} bytes of memory, expected "
      "at most {}",
      bytes,
      outline.memory,
      most);
}

std::string size_problem(uint64_t bytes, JsonLimits limits) {
  if (bytes <= limits.bytes) return "";
  return fmt::format("has {} bytes of JSON, expected at most {}", bytes, limits.bytes);
}

// `outline` becomes the text's, if there is nothing wrong with it.
std::string problem_of(std::string_view text, JsonLimits limits, Outline& outline) {
  if (std::string problem = size_problem(text.size(), limits); !problem.empty()) return problem;
  if (std::string problem = encoding_problem(text); !problem.empty()) return problem;
  outline = outline_of(text, limits.depth);
  return depth_problem(outline, limits);
}

// The value, or in `problem` what is wrong.
Json parse(std::string_view text, JsonLimits limits, std::string& problem) {
  Outline outline;
  problem = problem_of(text, limits, outline);
  if (problem.empty()) problem = memory_problem(outline, text.size(), limits);
  if (!problem.empty()) return {};
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    problem = fmt::format("is not valid JSON at its byte {}", error.byte);
  } catch (const Json::exception&) {
    problem = "is not valid JSON: a number is too large";
  }
  return {};
}

}  // namespace

std::string json_problem(std::string_view text, JsonLimits limits) {
  Outline outline;
  return problem_of(text, limits, outline);
}

Json parse_json(std::string_view text, std::string_view file, JsonLimits limits) {
  std::string problem;
  Json json = parse(text, limits, problem);
  if (!problem.empty()) fail("{} {}", file, problem);
  return json;
}

Json read_json(const std::filesystem::path& path, JsonLimits limits) {
  const File file = File::open(path);
  const uint64_t bytes = file.size();
  if (const std::string problem = size_problem(bytes, limits); !problem.empty()) {
    fail("{} {}", path.string(), problem);
  }
  std::string text(static_cast<size_t>(bytes), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return parse_json(text, path.string(), limits);
}

std::optional<Json> find_json(std::string_view text, JsonLimits limits) {
  std::string problem;
  Json json = parse(text, limits, problem);
  if (!problem.empty()) return std::nullopt;
  return json;
}

std::optional<uint64_t> whole_number(const Json& value, uint64_t most) {
  if (!value.is_number_unsigned() || value > most) return std::nullopt;
  return value.get<uint64_t>();
}

std::optional<float> float_number(const Json& value) {
  if (!value.is_number()) return std::nullopt;
  const double number = value.get<double>();
  if (!(std::abs(number) <= std::numeric_limits<float>::max())) return std::nullopt;
  return static_cast<float>(number);
}

std::string excerpt(const Json& value) {
  constexpr size_t kLongest = 60;
  std::string text = value.dump(-1, ' ', true);  // ASCII only: it can be cut anywhere
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

}  // namespace mflux
