// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/manual.h"

namespace mflux::cli {
namespace {

constexpr std::string_view kFishScript =
    R"(# Completion of mflux in fish. Made by: mflux completion fish

# Whether the subcommand is this one; '': none was typed yet.
function __mflux_command
    set -l typed (commandline -opc)
    for word in $typed[2..-1]
        string match -q -- '-*' $word; and continue
        test "$word" = "$argv[1]"
        return
    end
    test -z "$argv[1]"
end

# Whether what is typed now is value number $argv[1] ('*': any) of the option named after it.
function __mflux_value
    set -l typed (commandline -opc)
    set -l number 1
    for word in $typed[-1..1]
        if string match -qr -- '^-[^0-9]' $word
            contains -- $word $argv[2..-1]; or return 1
            test "$argv[1]" = '*' -o "$argv[1]" = $number
            return
        end
        set number (math $number + 1)
    end
    return 1
end

complete -c mflux -f
)";

std::string fish_quote(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\\' || c == '\'') result += '\\';
    result += c;
  }
  return result + "'";
}

// What may be offered for a value, as options of `complete`.
std::string fish_words(const ValueKind& kind) {
  std::string inner;
  for (const std::string& ending : kind.endings)
    inner += "(__fish_complete_suffix ." + ending + ") ";
  if (kind.files && kind.endings.empty()) inner += "(__fish_complete_path) ";
  if (kind.folders && !kind.files) inner += "(__fish_complete_directories) ";
  inner += fmt::format("{}", fmt::join(kind.words, " "));
  while (inner.ends_with(' ')) inner.pop_back();
  return inner.empty() ? "" : " -k -a " + fish_quote(inner);
}

std::string names(const ManualOption& option) {
  std::string text;
  for (const std::string& name : option.names) {
    text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  }
  return text;
}

std::string option_lines(const std::string& condition, const ManualOption& option) {
  const std::string begin = "complete -c mflux -n ";
  if (option.argument) {
    return begin + fish_quote(condition) + fish_words(value_kind(option.values.front())) + "\n";
  }
  std::string text = begin + fish_quote(condition) + names(option);
  if (!option.values.empty()) text += " -x" + fish_words(value_kind(option.values.front()));
  text += " -d " + fish_quote(option.description) + "\n";
  // Values after the first stand for themselves, as far as fish can tell.
  for (size_t i = option.many ? 0 : 1; i < (option.many ? 1 : option.values.size()); ++i) {
    const std::string words = fish_words(value_kind(option.values[i]));
    if (words.empty()) continue;
    const std::string number = option.many ? fish_quote("*") : std::to_string(i + 1);
    const std::string further =
        fmt::format("{}; and __mflux_value {} {}", condition, number, fmt::join(option.names, " "));
    text += fmt::format("{}{}{}\n", begin, fish_quote(further), words);
  }
  return text;
}

}  // namespace

std::string fish_completion(const Manual& manual) {
  std::string script(kFishScript);
  for (const ManualOption& option : manual.program.options) {
    script += option_lines("__mflux_command ''", option);
  }
  for (const ManualCommand& command : manual.commands) {
    script += fmt::format(
        "\ncomplete -c mflux -n \"__mflux_command ''\" -a {} -d {}\n",
        command.name,
        fish_quote(command.help));
    for (const ManualOption& option : command.options) {
      script += option_lines("__mflux_command " + command.name, option);
    }
  }
  script += "\n";
  for (const ManualCommand& command : manual.commands) {
    for (const std::string& link : command.links) {
      script += fmt::format("complete -c {} -w 'mflux {}'\n", link, command.name);
    }
  }
  return script;
}

}  // namespace mflux::cli
