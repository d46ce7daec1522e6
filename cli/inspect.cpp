// SPDX-License-Identifier: MIT
#include "mflux/inspect.h"

#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/inspection.h"

namespace mflux::cli {
namespace {

struct InspectArguments {
  InspectOptions options = {};
  std::string base_model = {};
  std::string model = {};
  bool tensors = false;
  ConsoleOptions console = {};
};

int run(const InspectArguments& arguments) {
  InspectOptions options = arguments.options;
  if (!arguments.base_model.empty()) options.base_model = arguments.base_model;
  if (!arguments.model.empty()) options.model = arguments.model;
  Console console(arguments.console);
  const Inspection found = inspect(options);
  const std::vector<std::string> lines =
      console.json()
          ? json_lines(found)
          : text_lines(found, {.tensors = arguments.tensors, .verbose = arguments.console.verbose});
  for (const std::string& line : lines) console.result(line);
  return ExitStatus::done;
}

}  // namespace

Command add_inspect(CLI::App& app, const Program&) {
  auto arguments = std::make_shared<InspectArguments>();
  app.add_option("path", arguments->options.path, "Folder, .safetensors file or name")->required();
  app.add_option(
      "--model",
      arguments->model,
      "For a LoRA: the model on which it is tried, and its share kept at 16, 8, 6 and 4 bits "
      "measured");
  app.add_option("--base-model", arguments->base_model, "Family, where the files cannot tell");
  app.add_option(
         "--lora-scale", arguments->options.scale, "With --model: the scale with which it is tried")
      ->capture_default_str();
  app.add_option(
      "--lora-block-scales",
      arguments->options.block_scales,
      "And factors for its blocks, as for mflux save");
  app.add_flag("--tensors", arguments->tensors, "List every tensor");
  app.add_flag("--json", arguments->console.json, "One JSON object a line");
  app.add_flag(
      "-v,--verbose",
      arguments->console.verbose,
      "For a LoRA: every layer's share kept, every dead module");
  return [arguments] { return run(*arguments); };
}

}  // namespace mflux::cli
