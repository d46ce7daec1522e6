// SPDX-License-Identifier: MIT
#include "cli/program.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <sstream>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/manual_texts.h"
#include "cli/streams.h"
#include "mflux/base/error.h"
#include "mflux/version.h"

namespace mflux::cli {
namespace {

struct Subcommand {
  const char* name;
  const char* help;
  Command (*add)(CLI::App&, const Program&);
};

constexpr auto kSubcommands = std::to_array<Subcommand>({
    {"save", "Bake LoRAs into a model, quantize it, write it", add_save},
    {"verify", "Prove a saved folder again from its files", add_verify},
    {"inspect", "Say what a model, a safetensors file or a LoRA is", add_inspect},
    {"compare", "Compare two models tensor by tensor", add_compare},
    {"report", "Make one HTML page about a saved folder, with pictures", add_report},
#ifdef MFLUX_GENERATE
    {"generate", "Make pictures from a prompt", add_generate},
#endif
    {"completion", "Print the completion script of a shell", add_completion},
    {"manual", "Write the manual pages", add_manual},
});

constexpr size_t kHelpColumn = 44;  // where descriptions begin

// CLI11's, except that a default stands behind the description and not in the name of the value.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_items_expected_max() == 0) return "";
    std::string text = " " + option->get_type_name();
    if (option->get_expected_max() == CLI::detail::expected_max_vector_size) text += " ...";
    return text;
  }

  std::string make_option_desc(const CLI::Option* option) const override {
    const std::string standard = option->get_default_str();
    return option->get_description() + (standard.empty() ? "" : " [" + standard + "]");
  }
};

// Newer CLI11 fills the footer as a paragraph, which would join the examples.
template <typename Formatter>
void keep_lines(Formatter& formatter) {
  if constexpr (requires { formatter.enable_footer_formatting(false); }) {
    formatter.enable_footer_formatting(false);
  }
}

// The examples of the manual page stand below the options too.
std::string examples_of(std::string_view command) {
  std::string text = "Examples:";
  for (const Example& example : manual_text(command).examples) {
    text += fmt::format("\n  # {}\n  {}", example.what, example.command);
  }
  return text;
}

// CLI11 only says that one is required.
void check_subcommand(const std::vector<std::string>& arguments) {
  const auto given = std::ranges::find_if(arguments, [](auto& a) { return !a.starts_with('-'); });
  if (given == arguments.end()) return;
  std::string names;
  for (const Subcommand& subcommand : kSubcommands) {
    if (*given == subcommand.name) return;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", subcommand.name);
  }
  fail(ErrorKind::usage, "unknown command '{}', expected one of {}", *given, names);
}

}  // namespace

std::vector<ParsedCommand> add_subcommands(CLI::App& app, const Program& program) {
  app.set_version_flag("--version", std::string(version()), "Print the version and exit");
  app.require_subcommand(1);
  app.failure_message([](const CLI::App* failed, const CLI::Error& error) {
    const CLI::Error shown(error.get_name(), printable(error.what()), error.get_exit_code());
    return CLI::FailureMessage::simple(failed, shown);
  });
  app.formatter(std::make_shared<HelpFormatter>());
  app.get_formatter()->column_width(kHelpColumn);
  keep_lines(*app.get_formatter());
  std::vector<ParsedCommand> commands;
  for (const Subcommand& subcommand : kSubcommands) {
    CLI::App* added = app.add_subcommand(subcommand.name, subcommand.help);
    added->footer(examples_of(subcommand.name));
    commands.push_back({added, subcommand.add(*added, program)});
  }
  return commands;
}

int run_program(std::vector<std::string> arguments) {
  Program program;
  const std::string called = std::filesystem::path(arguments.front()).filename().string();
  arguments.erase(arguments.begin());
  for (const ProgramName& name : kProgramNames) {
    if (name.name != called) continue;
    arguments.insert(arguments.begin(), std::string(name.subcommand));
    if (!name.family.empty()) program.required_family = std::string(name.family);
    program.model = std::string(name.model);
  }
  check_subcommand(arguments);
  CLI::App app(
      "Bakes LoRAs into FLUX.1 and Qwen-Image models, quantizes them for MLX and makes pictures.",
      "mflux");
  const std::vector<ParsedCommand> commands = add_subcommands(app, program);
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    app.parse(std::move(reversed));
  } catch (const CLI::ParseError& error) {
    std::ostringstream results;
    std::ostringstream log;
    const int status = app.exit(error, results, log);
    write_result(results.str());
    write_log(log.str());
    return status == 0 ? ExitStatus::done : ExitStatus::usage;
  }
  for (const ParsedCommand& command : commands) {
    if (command.app->parsed()) return command.run();
  }
  return ExitStatus::usage;
}

}  // namespace mflux::cli
