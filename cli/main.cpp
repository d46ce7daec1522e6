// SPDX-License-Identifier: MIT
#include <array>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/interrupt.h"
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
#ifdef MFLUX_GENERATE
    {"generate", "Make pictures from a prompt", add_generate},
#endif
});

// Names the program may be called under; each is a subcommand.
struct ProgramName {
  std::string_view name;
  std::string_view subcommand;
  std::string_view family;
};

constexpr std::array<ProgramName, 4> kProgramNames = {{
    {"mflux-save", "save", ""},
    {"mflux-save-qwen", "save", "qwen"},
    {"mflux-generate", "generate", ""},
    {"mflux-generate-qwen", "generate", "qwen"},
}};

int exit_status(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::failed:
      return ExitStatus::failed;
    case ErrorKind::usage:
      return ExitStatus::usage;
    case ErrorKind::lora:
      return ExitStatus::lora;
    case ErrorKind::interrupted:
      return ExitStatus::interrupted_status;
  }
  return ExitStatus::failed;
}

int run(std::vector<std::string> arguments) {
  Program program;
  const std::string called = std::filesystem::path(arguments.front()).filename().string();
  arguments.erase(arguments.begin());
  for (const ProgramName& name : kProgramNames) {
    if (name.name != called) continue;
    arguments.insert(arguments.begin(), std::string(name.subcommand));
    if (!name.family.empty()) program.required_family = std::string(name.family);
  }
  CLI::App app(
      "Bakes LoRAs into FLUX.1 and Qwen-Image models, quantizes them for MLX and makes pictures.",
      "mflux");
  app.set_version_flag("--version", std::string(version()));
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::simple);
  std::vector<std::pair<CLI::App*, Command>> commands;
  for (const Subcommand& subcommand : kSubcommands) {
    CLI::App* added = app.add_subcommand(subcommand.name, subcommand.help);
    commands.emplace_back(added, subcommand.add(*added, program));
  }
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    app.parse(std::move(reversed));
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? ExitStatus::done : ExitStatus::usage;
  }
  for (const auto& [subcommand, command] : commands) {
    if (subcommand->parsed()) return command();
  }
  return ExitStatus::usage;
}

}  // namespace
}  // namespace mflux::cli

int main(int argc, char** argv) try {
  mflux::cli::catch_interrupts();
  return mflux::cli::run(std::vector<std::string>(argv, argv + argc));
} catch (const mflux::Error& error) {
  fmt::print(stderr, "mflux: error: {}\n", error.what());
  return mflux::cli::exit_status(error.kind());
} catch (const std::bad_alloc&) {
  fmt::print(stderr, "mflux: error: out of memory\n");
  return mflux::cli::ExitStatus::failed;
} catch (const std::exception& error) {
  fmt::print(stderr, "mflux: error: {}\n", error.what());
  return mflux::cli::ExitStatus::failed;
}
