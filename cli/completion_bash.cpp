// SPDX-License-Identifier: MIT
// Written for bash 3.2, which is what a Mac has: no associative arrays, and compopt may be missing.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/manual.h"

namespace mflux::cli {
namespace {

constexpr std::string_view kBashScript =
    R"(# Completion of mflux in bash. Made by: mflux completion bash

# Offers words ($1) and what $2 says: none, folders, or files whose endings follow.
_mflux_offer() {
  local IFS=$' \t\n' name ending
  COMPREPLY=($(compgen -W "$1" -- "$cur"))
  if [ "$2" = none ]; then
    compopt +o default 2>/dev/null
    return 0
  fi
  compopt -o filenames 2>/dev/null
  while IFS= read -r name; do
    COMPREPLY+=("$name")
  done < <(
    if [ "$2" = files ] && [ $# = 2 ]; then
      compgen -f -- "$cur"
    else
      compgen -d -- "$cur"
      for ending in "${@:3}"; do compgen -f -X "!*.$ending" -- "$cur"; done
    fi
  )
  return 0
}
)";

constexpr std::string_view kEnd = R"bash(
_mflux() {
  local cur=${COMP_WORDS[COMP_CWORD]} at=$COMP_CWORD first=0 i
  local command='' option=''
  case ${COMP_WORDS[0]##*/} in
LINKS    *)
      for ((i = 1; i < COMP_CWORD; i++)); do
        if [ "${COMP_WORDS[i]#-}" = "${COMP_WORDS[i]}" ]; then
          command=${COMP_WORDS[i]} first=$i
          break
        fi
      done
      ;;
  esac
  # bash takes --option=value for three words.
  if [ "$cur" = = ]; then
    cur=''
  elif [ "$at" -gt 0 ] && [ "${COMP_WORDS[at - 1]}" = = ]; then
    at=$((at - 1))
  fi
  for ((i = at - 1; i > first; i--)); do
    case ${COMP_WORDS[i]} in
      -[0-9]*) ;;
      -*)
        option=${COMP_WORDS[i]}
        break
        ;;
    esac
  done
  COMPREPLY=()
  case $cur in
    -*) ;;
    *)
      if [ -n "$option" ] && _mflux_value "$command $option" $((at - i)); then return; fi
      if _mflux_argument "$command"; then return; fi
      ;;
  esac
  _mflux_offer "$(_mflux_options "$command")" none
}
complete -o default -F _mflux PROGRAMS
)bash";

std::string bash_words(const ValueKind& kind) {
  const char* what = kind.files ? "files" : kind.folders ? "folders" : "none";
  std::string text = fmt::format("_mflux_offer '{}' {}", fmt::join(kind.words, " "), what);
  for (const std::string& ending : kind.endings) text += " " + ending;
  return text;
}

std::string value_cases(const ManualCommand& command) {
  std::string text;
  for (const ManualOption& option : command.options) {
    if (option.argument) continue;
    for (size_t i = 0; i < option.values.size(); ++i) {
      // "[SCALE]" after a file that may come again: whatever follows can be a file.
      if (option.many && i != 0) continue;
      std::string pattern;
      for (const std::string& name : option.names) {
        pattern += fmt::format("{}'{} {}'", pattern.empty() ? "" : " | ", command.name, name);
        pattern += option.many ? "\\ *" : fmt::format("\\ {}", i + 1);
      }
      text += fmt::format("    {}) {} ;;\n", pattern, bash_words(value_kind(option.values[i])));
    }
  }
  return text;
}

std::string argument_case(const ManualCommand& command) {
  for (const ManualOption& option : command.options) {
    if (!option.argument) continue;
    return fmt::format(
        "    {}) {} ;;\n", command.name, bash_words(value_kind(option.values.front())));
  }
  return "";
}

std::string option_names(const ManualCommand& command) {
  std::string text;
  for (const ManualOption& option : command.options) {
    for (const std::string& name : option.names) {
      if (option.argument) continue;
      text += (text.empty() ? "" : " ") + name;
    }
  }
  return text;
}

}  // namespace

std::string bash_completion(const Manual& manual) {
  std::string values =
      "\n# $1: subcommand and option; $2: which of its values\n_mflux_value() {\n"
      "  case \"$1 $2\" in\n";
  std::string arguments = "\n_mflux_argument() {\n  case $1 in\n";
  std::string options = "\n_mflux_options() {\n  case $1 in\n";
  std::string links;
  std::string commands;
  for (const ManualCommand& command : manual.commands) {
    values += value_cases(command);
    arguments += argument_case(command);
    options += fmt::format("    {}) echo '{}' ;;\n", command.name, option_names(command));
    commands += (commands.empty() ? "" : " ") + command.name;
    if (command.links.empty()) continue;
    links += fmt::format("    {}) command={} ;;\n", fmt::join(command.links, " | "), command.name);
  }
  arguments += fmt::format("    '') _mflux_offer '{}' none ;;\n", commands);
  options += fmt::format("    '') echo '{}' ;;\n", option_names(manual.program));
  for (std::string* function : {&values, &arguments})
    *function += "    *) return 1 ;;\n  esac\n}\n";
  options += "  esac\n}\n";
  std::string end(kEnd);
  end.replace(end.find("LINKS"), 5, links);
  end.replace(end.find("PROGRAMS"), 8, program_names(manual));
  return std::string(kBashScript) + values + arguments + options + end;
}

}  // namespace mflux::cli
