// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/manual.h"

namespace mflux::cli {
namespace {

constexpr std::string_view kZshScript = R"zsh(#compdef PROGRAMS
# Completion of mflux in zsh. Made by: mflux completion zsh

# Offers words ($1) and what $2 says: none, folders, or files whose endings follow.
_mflux_offer() {
  local -a offered=(${=1})
  local kind=$2 result=1
  shift 2
  (( $#offered )) && compadd -a offered && result=0
  case $kind in
    folders) _files -/ && result=0 ;;
    files)
      if (( $# )); then
        _files -g "*.(${(j:|:)@})(-.)" && result=0
      else
        _files && result=0
      fi
      ;;
  esac
  return result
}
)zsh";

constexpr std::string_view kMain = R"zsh(
_mflux() {
  local curcontext=$curcontext state line
  typeset -A opt_args
  case $service in
LINKS  esac
  _arguments -C \
OPTIONS    '1: :->command' '*:: :->rest' && return
  case $state in
    command)
      local -a commands=(
COMMANDS      )
      _describe -t commands command commands
      ;;
    rest) (( $+functions[_mflux_${words[1]}] )) && _mflux_${words[1]} ;;
  esac
}

# As a file of $fpath this is the body of the function; read by source or eval it defines it.
if [ "${funcstack[1]}" = _mflux ]; then
  _mflux "$@"
else
  compdef _mflux PROGRAMS
fi
)zsh";

// Within single quotes.
std::string zsh_quote(std::string_view text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

// Within a specification of _arguments, where brackets and colons mean something.
std::string zsh_escape(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\' || c == '[' || c == ']' || c == ':') result += '\\';
    result += c;
  }
  return result;
}

// ":message:action" of one value.
std::string value(const std::string& name, bool many) {
  const ValueKind kind = value_kind(name);
  const char* what = kind.files ? "files" : kind.folders ? "folders" : "none";
  std::string action = fmt::format(" _mflux_offer \"{}\" {}", fmt::join(kind.words, " "), what);
  for (const std::string& ending : kind.endings) action += " " + ending;
  const bool optional = name.starts_with('[');
  return fmt::format("{}:{}:{}", many ? ":*-*" : optional ? ":" : "", zsh_escape(name), action);
}

// "-q", "--quantize" as one word each, since values and exclusions are of all of them.
std::string specification(const ManualOption& option) {
  std::string tail = "[" + zsh_escape(option.description) + "]";
  for (size_t i = 0; i < option.values.size(); ++i) {
    if (option.many && i != 0) continue;
    tail += value(option.values[i], option.many);
  }
  const std::string others = option.many ? "*" : fmt::format("({})", fmt::join(option.names, " "));
  std::string text;
  for (const std::string& name : option.names) {
    const bool is_long = name.starts_with("--");
    const char* joined = option.values.empty() ? "" : is_long ? "=" : "+";
    text += fmt::format("    {} \\\n", zsh_quote(others + name + joined + tail));
  }
  return text;
}

std::string function(const ManualCommand& command) {
  std::string text = fmt::format("\n_mflux_{}() {{\n  _arguments -S \\\n", command.name);
  int position = 0;
  for (const ManualOption& option : command.options) {
    if (!option.argument) {
      text += specification(option);
      continue;
    }
    const std::string spec = fmt::format("{}{}", ++position, value(option.values.front(), false));
    text += "    " + zsh_quote(spec) + " \\\n";
  }
  text.erase(text.size() - 3);  // the last " \"
  return text + "\n}\n";
}

void replace(std::string& text, std::string_view what, const std::string& with) {
  for (size_t at = 0; (at = text.find(what, at)) != text.npos; at += with.size()) {
    text.replace(at, what.size(), with);
  }
}

}  // namespace

std::string zsh_completion(const Manual& manual) {
  std::string script(kZshScript);
  std::string links;
  std::string commands;
  std::string options;
  for (const ManualCommand& command : manual.commands) {
    script += function(command);
    commands += "        " + zsh_quote(zsh_escape(command.name) + ":" + command.help) + "\n";
    if (command.links.empty()) continue;
    links +=
        fmt::format("    {}) _mflux_{}; return ;;\n", fmt::join(command.links, "|"), command.name);
  }
  for (const ManualOption& option : manual.program.options) options += specification(option);
  script += kMain;
  replace(script, "LINKS", links);
  replace(script, "OPTIONS", options);
  replace(script, "COMMANDS", commands);
  replace(script, "PROGRAMS", program_names(manual));
  return script;
}

}  // namespace mflux::cli
