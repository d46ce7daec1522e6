// SPDX-License-Identifier: MIT
// Manual pages in the macros of man(7), which groff and mandoc both read.
#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "cli/manual.h"
#include "cli/manual_texts.h"

namespace mflux::cli {
namespace {

// Text as roff prints it unchanged: a plain hyphen or quote would become a typographic one, which
// cannot be copied into a shell.
std::string roff(std::string_view text) {
  std::string result;
  if (text.starts_with('.')) result += "\\&";
  for (const char c : text) {
    switch (c) {
      case '\\':
        result += "\\e";
        break;
      case '-':
        result += "\\-";
        break;
      case '\'':
        result += "\\(aq";
        break;
      case '"':
        result += "\\(dq";
        break;
      case '`':
        result += "\\(ga";
        break;
      case '^':
        result += "\\(ha";
        break;
      case '~':
        result += "\\(ti";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string bold(std::string_view text) {
  return "\\fB" + roff(text) + "\\fR";
}
std::string italic(std::string_view text) {
  return "\\fI" + roff(text) + "\\fR";
}

constexpr size_t kLine = 79;  // of the source, which people read in patches

// Text broken into lines between words; a full stop is added if it ends without one.
std::string sentence(std::string_view text) {
  std::string result;
  size_t column = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    const std::string word = roff(text.substr(0, end));
    if (column != 0 && column + 1 + word.size() > kLine) {
      result += '\n';
      column = 0;
    } else if (column != 0) {
      result += ' ';
      ++column;
    }
    result += word;
    column += word.size();
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (!result.ends_with('.')) result += '.';
  return result;
}

std::string page_name(const ManualCommand& command) {
  return command.name.empty() ? "mflux" : "mflux-" + command.name;
}

std::string values_of(const ManualOption& option) {
  std::string text;
  for (const std::string& value : option.values) text += " " + italic(value);
  return option.many ? text + " ..." : text;
}

std::string name_section(const ManualCommand& command) {
  std::string help =
      command.name.empty() ? "bake, quantize, prove and run FLUX.1 and Qwen-Image" : command.help;
  help.front() = static_cast<char>(std::tolower(static_cast<unsigned char>(help.front())));
  std::string names = roff(page_name(command));
  for (const std::string& link : command.links) {
    if (link != page_name(command)) names += ", " + roff(link);
  }
  return ".SH NAME\n" + names + " \\- " + roff(help) + "\n";
}

std::string synopsis(const ManualCommand& command) {
  const std::string options = " [" + italic("OPTION") + "]...";
  const std::string text = ".SH SYNOPSIS\n";
  if (command.name.empty()) return text + bold("mflux") + " " + italic("COMMAND") + options + "\n";
  std::string rest = options;
  for (const ManualOption& option : command.options) {
    if (option.argument) rest += " " + italic(option.names.front());
  }
  std::string lines = bold("mflux " + command.name) + rest + "\n";
  for (const std::string& link : command.links) lines += ".br\n" + bold(link) + rest + "\n";
  return text + lines;
}

std::string description(const ManualText& text) {
  std::string result = ".SH DESCRIPTION\n";
  for (std::string_view rest = text.about; !rest.empty();) {
    const size_t end = std::min(rest.find("\n\n"), rest.size());
    if (rest.size() != text.about.size()) result += ".PP\n";
    result += sentence(rest.substr(0, end)) + "\n";
    rest.remove_prefix(std::min(end + 2, rest.size()));
  }
  return result;
}

std::string option_entry(const ManualOption& option) {
  std::string text = ".TP\n";
  for (size_t i = 0; i < option.names.size(); ++i) {
    const std::string& name = option.names[i];
    text += (i == 0 ? "" : ", ") + (option.argument ? italic(name) : bold(name));
  }
  if (!option.argument) text += values_of(option);
  text += "\n" + sentence(option.description) + "\n";
  if (!option.standard.empty()) text += "Default: " + sentence(option.standard) + "\n";
  return text;
}

// In the order of the table, but what is common to all commands last; each group under a heading
// where there is more than one.
std::string options_section(const ManualCommand& command) {
  std::vector<std::string> groups;
  for (const ManualOption& option : command.options) {
    if (std::ranges::find(groups, option.group) == groups.end()) groups.push_back(option.group);
  }
  std::rotate(groups.begin(), groups.begin() + 1, groups.end());  // the parser's own --help
  std::string text = ".SH OPTIONS\n";
  for (const std::string& group : groups) {
    if (groups.size() > 1) text += ".SS " + roff(group) + "\n";
    for (const ManualOption& option : command.options) {
      if (option.group == group) text += option_entry(option);
    }
  }
  return text;
}

std::string commands_section(const Manual& manual) {
  std::string text = ".SH COMMANDS\n";
  for (const ManualCommand& command : manual.commands) {
    text += ".TP\n" + bold(command.name) + "\n" + sentence(command.help) + "\n";
    if (command.links.empty()) continue;
    text += "Also called";
    for (const std::string& link : command.links) {
      text += (&link == &command.links.front() ? " " : " or ") + bold(link);
    }
    text += ".\n";
  }
  return text;
}

std::string examples(const ManualText& text) {
  std::string result = ".SH EXAMPLES\n";
  for (const Example& example : text.examples) {
    if (&example != &text.examples.front()) result += ".PP\n";
    std::string what(example.what);
    what.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(what.front())));
    result += roff(what) + ":\n.PP\n.RS 4\n.nf\n" + bold(example.command) + "\n.fi\n.RE\n";
  }
  return result;
}

std::string exit_status() {
  std::string text = ".SH \"EXIT STATUS\"\n";
  for (const ExitStatusText& status : exit_status_texts()) {
    text +=
        fmt::format(".TP\n{}\n{}\n", bold(std::to_string(status.status)), sentence(status.meaning));
  }
  return text + ".PP\nAfter any failure the output is as it was.\n";
}

// Of commands that look into the Hugging Face cache.
std::string environment(const ManualCommand& command) {
  const bool cache = command.name.empty() || std::ranges::any_of(command.options, [](auto& option) {
                       return std::ranges::count(option.values, "MODEL") != 0;
                     });
  if (!cache) return "";
  return ".SH ENVIRONMENT\n.TP\n" + bold("HF_HUB_CACHE") + ", " + bold("HF_HOME") + ", " +
         bold("XDG_CACHE_HOME") + "\n" +
         sentence(
             "Where the Hugging Face cache is: the first that is set of $HF_HUB_CACHE, "
             "$HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub; else ~/.cache/huggingface/hub") +
         "\n";
}

std::string see_also(const Manual& manual, const ManualCommand& command, const ManualText& text) {
  std::vector<std::string> pages;
  if (!command.name.empty()) pages.push_back(page_name(manual.program));
  for (const ManualCommand& other : manual.commands) {
    if (other.name != command.name) pages.push_back(page_name(other));
  }
  std::string result = ".SH \"SEE ALSO\"\n";
  for (size_t i = 0; i < pages.size(); ++i) {
    result += ".BR " + roff(pages[i]) + (i + 1 < pages.size() ? " (1),\n" : " (1)\n");
  }
  if (text.pages.empty()) return result;
  result += ".PP\nMore is in these files, which are installed in share/doc/mflux:\n";
  for (const std::string_view page : text.pages)
    result += ".br\n" + roff("docs/" + std::string(page)) + "\n";
  return result;
}

}  // namespace

std::string man_page(const Manual& manual, const ManualCommand& command) {
  const ManualText& text = manual_text(command.name);
  std::string title = page_name(command);
  for (char& c : title) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  // No date: the same program gives the same page.
  std::string page = fmt::format(
      ".\\\" Made by: mflux manual\n.TH {} 1 \"\" \"mflux.cpp {}\" \"User Commands\"\n",
      roff(title),
      manual.version);
  page += name_section(command) + synopsis(command) + description(text);
  if (command.name.empty()) page += commands_section(manual);
  page += options_section(command) + examples(text) + exit_status() + environment(command);
  return page + see_also(manual, command, text);
}

}  // namespace mflux::cli
