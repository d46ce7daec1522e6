// SPDX-License-Identifier: MIT
#include "mflux/inspect.h"

#include <memory>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/inspection.h"
#include "cli/lora_arguments.h"
#include "cli/sizes.h"
#include "mflux/base/error.h"
#include "mflux/convert_lora.h"

namespace mflux::cli {
namespace {

struct InspectArguments {
  InspectOptions options = {};
  std::string base_model = {};
  std::string model = {};
  bool tensors = false;
  std::pair<std::string, std::string> convert = {};  // dialect and file
  bool overwrite = false;
  ConsoleOptions console = {};
};

int run_convert(const InspectArguments& arguments) {
  ConvertOptions options{
      .lora = arguments.options.path,
      .dialect = arguments.convert.first,
      .output = arguments.convert.second,
      .overwrite = arguments.overwrite,
      .scale = arguments.options.scale,
      .block_scales = arguments.options.block_scales};
  if (!arguments.base_model.empty()) options.base_model = arguments.base_model;
  if (!arguments.model.empty()) options.model = arguments.model;
  Console console(arguments.console);
  const lora::ConvertedFile done = convert_lora(options);
  if (console.json()) {
    const nlohmann::ordered_json json = {
        {"event", "converted"},
        {"path", options.output.string()},
        {"from", done.from},
        {"to", options.dialect},
        {"layers", done.layers},
        {"tensors", done.tensors},
        {"bytes", done.bytes},
        {"notes", done.notes}};
    console.object(json);
    return ExitStatus::done;
  }
  for (const std::string& note : done.notes) console.result(format_printable("Note: {}", note));
  console.result(format_printable(
      "Wrote {}: {} layer(s), {} tensors, {}; converted from {} to {}",
      options.output.string(),
      done.layers,
      done.tensors,
      format_size(done.bytes),
      done.from,
      options.dialect));
  return ExitStatus::done;
}

// What keeps the file or folder from being used as what it is; messages of Errors, printable.
std::vector<std::string> problems_of(const Inspection& found) {
  std::vector<std::string> problems;
  if (found.model) {
    problems = {found.model->unknown, found.model->receipt_problem};
    for (const ComponentReport& component : found.model->components) {
      problems.push_back(
          component.problem.empty() || component.name.empty()
              ? component.problem
              : format_printable("{}: {}", component.name, Shown{component.problem}));
    }
  }
  if (found.lora && found.lora->fit == Fit::fits_not) {
    problems.push_back(printable(found.lora->verdict));
  }
  std::erase(problems, "");
  return problems;
}

int run(const InspectArguments& arguments) {
  if (!arguments.convert.second.empty()) return run_convert(arguments);
  if (arguments.overwrite) fail(ErrorKind::usage, "--overwrite is for --convert");
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
  for (const std::string& problem : problems_of(found)) {
    console.wrong(format_printable("{}: {}", found.path.string(), Shown{problem}));
  }
  return ExitStatus::done;
}

}  // namespace

Command add_inspect(CLI::App& app, const Program&) {
  auto arguments = std::make_shared<InspectArguments>();
  app.add_option("path", arguments->options.path, "Folder, .safetensors file or name")
      ->required()
      ->type_name("MODEL");
  app.add_option(
         "--model",
         arguments->model,
         "For a LoRA: the model to try it on, which also measures the share kept at 16, 8, 6 and 4 "
         "bits")
      ->type_name("MODEL");
  app.add_option("--base-model", arguments->base_model, "Family, where the files cannot tell")
      ->type_name("FAMILY");
  app.add_option("--lora-scale", arguments->options.scale, "Scale to try or convert a LoRA with")
      ->type_name("SCALE")
      ->check(why_no_scale)
      ->capture_default_str();
  app.add_option(
         "--lora-block-scales",
         arguments->options.block_scales,
         "Factors for parts of it, as for mflux save")
      ->type_name("PARTS");
  app.add_option(
         "--convert", arguments->convert, "Rewrite a LoRA in another dialect, into this file")
      ->type_name("diffusers|kohya|comfyui FILE.safetensors");
  app.add_flag("--overwrite", arguments->overwrite, "With --convert: replace the file");
  app.add_flag("--tensors", arguments->tensors, "List every tensor");
  app.add_flag("--json", arguments->console.json, "One JSON object a line");
  app.add_flag(
      "-v,--verbose",
      arguments->console.verbose,
      "For a LoRA: every layer's share kept, every dead module");
  return [arguments] { return run(*arguments); };
}

}  // namespace mflux::cli
