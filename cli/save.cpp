// SPDX-License-Identifier: MIT
#include "mflux/save.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/family.h"
#include "cli/job.h"
#include "cli/job_file.h"
#include "cli/lora_arguments.h"
#include "cli/plan.h"
#include "cli/sizes.h"
#include "mflux/base/error.h"

namespace mflux::cli {
namespace {

struct SaveArguments {
  SaveOptions options = {};
  LoraArguments loras = {};
  std::string base_model = {};
  std::string mode = "affine";
  std::string rounding = "auto";
  std::string layout = "mflux";
  std::string on_lora_failure = "error";
  std::string max_shard_size = "2GiB";
  std::string max_memory = "1GiB";
  int bits = 0;
  int group_size = 0;
  double min_kept = 0;
  bool dry_run = false;
  std::string job = {};
  ConsoleOptions console = {};
};

void add_model_options(CLI::App& app, SaveArguments& a) {
  app.option_defaults()->group("Model");
  app.add_option(
         "-m,--model",
         a.options.model,
         "Folder, .safetensors file or name of the model (qwen-image is Qwen-Image-2512)")
      ->type_name("MODEL");
  app.add_option("--base-model", a.base_model, "Family, where the files cannot tell")
      ->type_name("FAMILY");
  app.add_option("--path", a.options.output, "Folder to write")->type_name("FOLDER");
  app.add_flag(
      "--overwrite", a.options.overwrite, "Replace the folder, once the new one is complete");
  app.add_option(
         "--job",
         a.job,
         "TOML file with several outputs, saved in one pass over the model; docs/jobs.md")
      ->type_name("FILE.toml");
  app.add_option("--layout", a.layout, "Names and files as in mflux, diffusers or ComfyUI")
      ->type_name("mflux|diffusers|comfyui")
      ->capture_default_str();
}

void add_quantization_options(CLI::App& app, SaveArguments& a) {
  app.option_defaults()->group("Quantization");
  app.add_option("-q,--quantize", a.bits, "Bits of a packed weight")->type_name("2|3|4|5|6|8");
  app.add_option("--q-mode", a.mode, "Kind of packed weight")
      ->type_name("affine|mxfp4|mxfp8|nvfp4")
      ->capture_default_str();
  app.add_option("--q-group-size", a.group_size, "Weights per scale (default: the mode's)")
      ->type_name("16|32|64|128");
  app.add_flag(
      "--quantize-at-load",
      a.options.quantize_at_load,
      "Keep full precision on disk and only record the level");
  app.add_option(
         "--rounding",
         a.rounding,
         "Codes of a baked weight: the nearest, or moved so that the LoRA survives, with some "
         "noise (delta); auto: delta where the model is already quantized")
      ->type_name("auto|nearest|delta")
      ->capture_default_str();
  app.add_option(
         "--min-kept",
         a.min_kept,
         "Refuse a bake if less than this share of a LoRA survives rounding (0..1)")
      ->type_name("SHARE");
  app.add_flag(
      "--escalate",
      a.options.escalate,
      "More bits (up to 8) for layers in which less than --min-kept, or 0.9, of a LoRA survives; "
      "measured before anything is written");
}

void add_options(CLI::App& app, SaveArguments& a) {
  add_model_options(app, a);
  app.option_defaults()->group("LoRA");
  add_lora_options(app, a.loras);
  app.add_option("--on-lora-failure", a.on_lora_failure, "What to do if a LoRA does not fit")
      ->type_name("error|skip-layer|skip-lora|full-precision")
      ->capture_default_str();
  add_quantization_options(app, a);
  app.option_defaults()->group("Options");
  app.add_option("--max-shard-size", a.max_shard_size, "Largest size of a shard")
      ->type_name("SIZE")
      ->capture_default_str();
  app.add_option("--max-memory", a.max_memory, "Bound on the working set")
      ->type_name("SIZE")
      ->capture_default_str();
  app.add_flag("--sha256", a.options.sha256, "Add sha256 to the receipt");
  app.add_flag("--dry-run", a.dry_run, "Print the plan and write nothing");
  app.add_flag("--json", a.console.json, "One JSON object a line");
  app.add_flag("-v,--verbose", a.console.verbose, "Every line of the log");
}

SaveOptions settle(const CLI::App& app, SaveArguments& a) {
  SaveOptions options = a.options;
  if (options.model.empty()) fail(ErrorKind::usage, "--model is missing: what should be saved?");
  if (app.count("--base-model") != 0) options.base_model = a.base_model;
  if (app.count("--quantize") != 0) options.bits = a.bits;
  if (app.count("--q-group-size") != 0) options.group_size = a.group_size;
  if (app.count("--min-kept") != 0) options.min_kept = a.min_kept;
  const auto mode = parse_quant_mode(a.mode);
  if (!mode) fail(ErrorKind::usage, "--q-mode '{}' is not affine, mxfp4, mxfp8 or nvfp4", a.mode);
  options.mode = *mode;
  const auto layout = parse_layout(a.layout);
  if (!layout) fail(ErrorKind::usage, "--layout '{}' is not mflux, diffusers or comfyui", a.layout);
  options.layout = *layout;
  const auto policy = parse_on_lora_failure(a.on_lora_failure);
  if (!policy) {
    fail(
        ErrorKind::usage,
        "--on-lora-failure '{}' is not error, skip-layer, skip-lora or full-precision",
        a.on_lora_failure);
  }
  options.on_lora_failure = *policy;
  const auto rounding = parse_bake_rounding(a.rounding);
  if (!rounding)
    fail(ErrorKind::usage, "--rounding '{}' is not auto, nearest or delta", a.rounding);
  options.rounding = *rounding;
  options.max_shard_bytes = parse_size(a.max_shard_size);
  options.max_memory = parse_size(a.max_memory);
  options.loras = settle_loras(a.loras);
  if (options.output.empty() && !a.dry_run) {
    fail(ErrorKind::usage, "--path is missing: where should the model be saved?");
  }
  return options;
}

// With --job, the file says what a command line says otherwise.
JobOptions settle_job(const CLI::App& app, const SaveArguments& a) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_single_name();
    const bool goes_along = name == "job" || name == "model" || name == "base-model" ||
                            name == "max-memory" || name == "dry-run" || name == "json" ||
                            name == "verbose" || name == "help";
    if (option->count() != 0 && !goes_along)
      fail(ErrorKind::usage, "--{} cannot be used with --job: write it in the job file", name);
  }
  JobOptions job = read_job_file(a.job);
  if (app.count("--model") != 0) job.model = a.options.model;
  if (app.count("--base-model") != 0) job.base_model = a.base_model;
  if (app.count("--max-memory") != 0) job.max_memory = parse_size(a.max_memory);
  if (job.model.empty())
    fail(ErrorKind::usage, "{}: no model, expected model = \"...\" or --model", a.job);
  return job;
}

struct IdleOption {
  std::string_view option = {};
  bool idle = false;
  std::string_view why = {};
};

// Options that were given and change nothing in any output.
void note_idle_options(
    const CLI::App& app,
    const std::vector<SaveOptions>& outputs,
    const ConsoleOptions& console_options) {
  const auto any = [&](auto holds) { return std::ranges::any_of(outputs, holds); };
  const bool plain = !any([](const SaveOptions& o) { return !o.loras.empty(); });
  const SaveOptions& first = outputs.front();
  const std::vector<IdleOption> all = {
      {"--min-kept",
       plain && any([](const SaveOptions& o) { return o.min_kept.has_value(); }),
       "without --lora"},
      {"--rounding",
       plain && any([](const SaveOptions& o) { return o.rounding != BakeRounding::automatic; }),
       "without --lora"},
      {"--on-lora-failure",
       plain && any([](const SaveOptions& o) { return o.on_lora_failure != OnLoraFailure::error; }),
       "without --lora"},
      {"--q-mode affine",
       app.count("--q-mode") != 0 && !first.bits && first.mode == QuantMode::affine,
       "without --quantize"},
      {"--max-shard-size",
       app.count("--max-shard-size") != 0 && first.layout == Layout::comfyui,
       "with --layout comfyui, which is one file"},
  };
  Console console(console_options);
  for (const IdleOption& one : all) {
    if (one.idle) console.note(fmt::format("{} has no effect {}", one.option, one.why));
  }
}

int run_save(const SaveOptions& options, const ConsoleOptions& console_options) {
  Console console(console_options);
  const auto begin = std::chrono::steady_clock::now();
  const SaveReport report = save(options, console.events("Saving"));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  print_report(console, options, report, seconds);
  return ExitStatus::done;
}

}  // namespace

Command add_save(CLI::App& app, const Program& program) {
  auto arguments = std::make_shared<SaveArguments>();
  add_options(app, *arguments);
  return [&app, arguments, program] {
    if (!arguments->job.empty()) {
      const JobOptions job = settle_job(app, *arguments);
      check_family(program, job.model, job.base_model);
      note_idle_options(app, job.outputs, arguments->console);
      return arguments->dry_run ? print_job_plan(job, arguments->console)
                                : run_job(job, arguments->console);
    }
    const SaveOptions options = settle(app, *arguments);
    check_family(program, options.model, options.base_model);
    note_idle_options(app, {options}, arguments->console);
    if (arguments->dry_run) return print_plan(options, arguments->console);
    return run_save(options, arguments->console);
  };
}

}  // namespace mflux::cli
