// SPDX-License-Identifier: MIT
#include "cli/manual.h"

#include <cctype>
#include <sstream>

#include <CLI/CLI.hpp>

#include "cli/program.h"
#include "mflux/version.h"

namespace mflux::cli {
namespace {

// Names that need no file: the hub's well-known ones, without their synonyms.
constexpr std::string_view kModelNames =
    "dev|schnell|krea-dev|kontext|fill|qwen-image|qwen-image-edit";

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  std::stringstream stream{std::string(text)};
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

ManualOption read_option(const CLI::Option& option) {
  ManualOption result;
  result.argument = option.get_positional();
  result.description = option.get_description();
  result.standard = option.get_default_str();
  result.group = option.get_group();
  if (result.argument) {
    std::string name = option.get_name(true);
    for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    result.names = {name};
  }
  for (const std::string& name : option.get_snames()) result.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) result.names.push_back("--" + name);
  if (option.get_items_expected_max() == 0) return result;
  result.values = split(option.get_type_name(), ' ');
  result.many = option.get_expected_max() == CLI::detail::expected_max_vector_size;
  return result;
}

ManualCommand read_command(const CLI::App& app) {
  ManualCommand command{.help = app.get_description()};
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_group().empty()) command.options.push_back(read_option(*option));
  }
  return command;
}

}  // namespace

Manual read_manual(const CLI::App& program) {
  Manual manual{.version = std::string(version()), .program = read_command(program)};
  for (const CLI::App* app : program.get_subcommands([](const CLI::App*) { return true; })) {
    ManualCommand command = read_command(*app);
    command.name = app->get_name();
    for (const ProgramName& link : kProgramNames) {
      if (link.subcommand == command.name) command.links.emplace_back(link.name);
    }
    manual.commands.push_back(std::move(command));
  }
  return manual;
}

std::string program_names(const Manual& manual) {
  std::string names = "mflux";
  for (const ManualCommand& command : manual.commands) {
    for (const std::string& link : command.links) names += " " + link;
  }
  return names;
}

ValueKind value_kind(std::string_view value) {
  if (value.starts_with('[') && value.ends_with(']')) value = value.substr(1, value.size() - 2);
  if (value.find('|') != value.npos) return {.words = split(value, '|')};
  if (value == "FAMILY") return {.words = split(kModelNames, '|')};
  if (value == "FOLDER") return {.folders = true};
  if (value == "FILE") return {.folders = true, .files = true};
  if (value == "LORA") return {.folders = true, .files = true, .endings = {"safetensors"}};
  if (value == "PICTURE")
    return {.folders = true, .files = true, .endings = {"png", "jpg", "jpeg"}};
  if (value == "MODEL") {
    return {
        .words = split(kModelNames, '|'),
        .folders = true,
        .files = true,
        .endings = {"safetensors"}};
  }
  if (value.starts_with("FILE.")) {
    return {.folders = true, .files = true, .endings = {std::string(value.substr(5))}};
  }
  return {};
}

}  // namespace mflux::cli
