// SPDX-License-Identifier: MIT
#include "mflux/generate.h"

#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <memory>
#include <random>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/family.h"
#include "cli/generate_files.h"
#include "cli/generate_notes.h"
#include "cli/interrupt.h"
#include "cli/lora_arguments.h"
#include "cli/recipe.h"
#include "cli/sizes.h"
#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/image/png.h"

namespace mflux::cli {
namespace {

using nlohmann::ordered_json;

constexpr int kDefaultTile = 512;  // pixels, as in Python's mflux

struct GenerateArguments {
  GenerateOptions options = {};
  LoraArguments loras = {};
  std::string base_model = {};
  std::string mode = "affine";
  std::string height = "auto";
  std::string width = "auto";
  std::string prompt_file = {};
  std::string replay = {};
  std::vector<std::string> image = {};
  std::filesystem::path output = "image.png";
  std::filesystem::path stepwise = {};
  int steps = 0;
  int bits = 0;
  int auto_seeds = 0;
  int tile = kDefaultTile;
  float guidance = 0;
  bool vae_tiling = false;
  bool metadata = false;
  bool dry_run = false;
  ConsoleOptions console = {};
};

void add_prompt_options(CLI::App& app, GenerateArguments& a) {
  app.option_defaults()->group("Picture");
  app.add_option("--prompt", a.options.prompt, "What to draw; - or nothing: standard input")
      ->type_name("TEXT");
  app.add_option(
         "--prompt-file", a.prompt_file, "A file that holds the prompt; - is standard input")
      ->type_name("FILE");
  app.add_option("--negative-prompt", a.options.negative_prompt, "What not to draw (Qwen-Image)")
      ->type_name("TEXT");
  app.add_option("--seed", a.options.seeds, "Number(s) the noise is made from; a picture each")
      ->type_name("NUMBER")
      ->take_all();
  app.add_option("--auto-seeds", a.auto_seeds, "Make this many pictures of random seeds")
      ->type_name("COUNT");
  app.add_option("--height", a.height, "A multiple of 16 (default 1024, or the image's)")
      ->type_name("PIXELS");
  app.add_option("--width", a.width, "A multiple of 16 (default 1024, or the image's)")
      ->type_name("PIXELS");
  app.add_option("--steps", a.steps, "Steps (default: the model's)")->type_name("COUNT");
  app.add_option(
         "--guidance", a.guidance, "How strictly to follow the prompt (default: the model's)")
      ->type_name("NUMBER");
  app.add_option("--scheduler", a.options.scheduler, "Solver; linear is euler")
      ->type_name("linear|heun|dpm++2m")
      ->capture_default_str();
}

void add_picture_options(CLI::App& app, GenerateArguments& a) {
  app.option_defaults()->group("From pictures");
  app.add_option(
         "--image,--image-path",
         a.image,
         "Begin with this picture; a number after it is its strength. A model that edits looks at "
         "it")
      ->type_name("PICTURE [STRENGTH]")
      ->expected(1, 2);
  app.add_option(
         "--image-strength",
         a.options.image_strength,
         "How much of it stays: 0.4 a little, 0.9 most")
      ->type_name("STRENGTH")
      ->capture_default_str();
  app.add_option(
         "--reference,--image-paths",
         a.options.references,
         "Picture(s) that Kontext, Fill or Qwen-Image-Edit look at")
      ->type_name("PICTURE")
      ->take_all();
  app.add_option("--mask,--masked-image-path", a.options.mask, "Fill: white where to paint")
      ->type_name("PICTURE");
}

void add_output_options(CLI::App& app, GenerateArguments& a) {
  app.option_defaults()->group("Output");
  app.add_option(
         "--output", a.output, "PNG to write; {seed} is replaced; a taken name gets a number")
      ->type_name("FILE.png")
      ->capture_default_str();
  app.add_option(
         "--stepwise,--stepwise-image-output-dir",
         a.stepwise,
         "Folder for the picture after each step")
      ->type_name("FOLDER");
  app.add_flag("--metadata", a.metadata, "Write the recipe as JSON beside the picture too");
  app.add_option(
         "-C,--config-from-metadata",
         a.replay,
         "A PNG of this program: make it again; other options change the recipe")
      ->type_name("FILE.png");
}

void add_model_options(CLI::App& app, GenerateArguments& a, const Program& program) {
  app.option_defaults()->group("Model");
  auto* model =
      app.add_option(
             "-m,--model",
             a.options.model,
             "Folder or name of the model, quantized or not (qwen-image is Qwen-Image-2512)")
          ->type_name("MODEL");
  if (!program.model.empty()) {
    a.options.model = program.model;
    model->capture_default_str();
  }
  app.add_option("--base-model", a.base_model, "Family, where the files cannot tell")
      ->type_name("FAMILY");
  app.add_option(
         "-q,--quantize", a.bits, "Quantize a full-precision model to this many bits while loading")
      ->type_name("2|3|4|5|6|8");
  app.add_option("--q-mode", a.mode, "Kind of packed weight")
      ->type_name("affine|mxfp4|mxfp8|nvfp4")
      ->capture_default_str();
  app.option_defaults()->group("LoRA");
  add_lora_options(app, a.loras);
}

void add_options(CLI::App& app, GenerateArguments& a, const Program& program) {
  add_model_options(app, a, program);
  add_prompt_options(app, a);
  add_picture_options(app, a);
  add_output_options(app, a);
  app.option_defaults()->group("Options");
  app.add_option(
         "--cpu-precision",
         a.options.cpu_precision,
         "What the CPU multiplies in; auto is bfloat16 if it has instructions for that")
      ->type_name("auto|float32|bfloat16")
      ->capture_default_str();
  app.add_flag("--low-ram", a.options.low_memory, "Less memory, a little slower");
  app.add_flag("--vae-tiling", a.vae_tiling, "Decode in tiles, which needs less memory");
  app.add_option("--vae-tile-size", a.tile, "A multiple of 16")
      ->type_name("PIXELS")
      ->capture_default_str();
  app.add_flag("--dry-run", a.dry_run, "Say what would be done and how much memory it takes");
  app.add_flag("--json", a.console.json, "One JSON object a line");
  app.add_flag("-v,--verbose", a.console.verbose, "Every line of the log");
}

std::optional<int> parse_side(const std::string& name, const std::string& text) {
  if (text == "auto") return std::nullopt;
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  fail(ErrorKind::usage, "{} '{}' is not a number of pixels", name, text);
}

void settle_prompt(const CLI::App& app, const GenerateArguments& a, GenerateOptions& options) {
  const bool from_file = app.count("--prompt-file") != 0;
  if (from_file && app.count("--prompt") != 0) {
    fail(ErrorKind::usage, "give --prompt or --prompt-file, not both");
  }
  if (app.count("--prompt") != 0 && a.options.prompt != "-") {
    check_text("--prompt", a.options.prompt);
    options.prompt = a.options.prompt;
  } else if (from_file || app.count("--prompt") != 0) {
    options.prompt = read_prompt(from_file ? a.prompt_file : "-");
  } else if (a.replay.empty() && !a.dry_run && isatty(STDIN_FILENO) == 0) {
    options.prompt = read_prompt("-");
  } else if (a.replay.empty() && !a.dry_run) {
    fail(ErrorKind::usage, "--prompt is missing: what should the picture show?");
  }
}

void settle_seeds(const CLI::App& app, const GenerateArguments& a, GenerateOptions& options) {
  if (app.count("--seed") != 0) {
    options.seeds = a.options.seeds;
  } else if (a.auto_seeds > 0) {
    std::random_device random;
    options.seeds.clear();
    if (std::cmp_greater(a.auto_seeds, kMostPictures)) {
      fail(ErrorKind::usage, "--auto-seeds {}: expected at most {}", a.auto_seeds, kMostPictures);
    }
    for (int i = 0; i < a.auto_seeds; ++i) options.seeds.push_back(random());
  } else if (a.replay.empty()) {
    options.seeds = {static_cast<uint64_t>(std::time(nullptr))};
  }
}

void settle_image(const CLI::App& app, const GenerateArguments& a, GenerateOptions& options) {
  if (app.count("--image-strength") != 0) options.image_strength = a.options.image_strength;
  if (a.image.empty()) return;
  options.image = a.image.front();
  if (a.image.size() == 1) return;
  char* end = nullptr;
  options.image_strength = std::strtof(a.image[1].c_str(), &end);
  if (*end != '\0') {
    fail(ErrorKind::usage, "--image: the strength '{}' is not a number", a.image[1]);
  }
}

GenerateOptions settle(const CLI::App& app, const GenerateArguments& a) {
  GenerateOptions options = a.replay.empty() ? a.options : read_recipe(a.replay);
  const auto given = [&](const char* name) { return app.count(name) != 0; };
  if (given("--model")) options.model = a.options.model;
  if (options.model.empty()) fail(ErrorKind::usage, "--model is missing");
  if (given("--base-model")) options.base_model = a.base_model;
  if (given("--quantize")) options.bits = a.bits;
  if (given("--q-mode")) {
    const auto mode = parse_quant_mode(a.mode);
    if (!mode) fail(ErrorKind::usage, "--q-mode '{}' is not affine, mxfp4, mxfp8 or nvfp4", a.mode);
    options.mode = *mode;
  }
  if (given("--lora") || given("--lora-scale") || given("--lora-block-scales")) {
    options.loras = settle_loras(a.loras);
  }
  settle_prompt(app, a, options);
  if (given("--negative-prompt")) {
    check_text("--negative-prompt", a.options.negative_prompt);
    options.negative_prompt = a.options.negative_prompt;
  }
  settle_seeds(app, a, options);
  if (given("--height")) options.height = parse_side("--height", a.height);
  if (given("--width")) options.width = parse_side("--width", a.width);
  if (given("--steps")) options.steps = a.steps;
  if (given("--guidance")) options.guidance = a.guidance;
  if (given("--scheduler")) options.scheduler = a.options.scheduler;
  settle_image(app, a, options);
  if (given("--reference")) options.references = a.options.references;
  if (given("--mask")) options.mask = a.options.mask;
  if (given("--cpu-precision")) options.cpu_precision = a.options.cpu_precision;
  options.low_memory = a.options.low_memory;
  if (a.vae_tiling || given("--vae-tile-size")) options.vae_tile = a.tile;
  return options;
}

int print_dry_run(const CLI::App& app, const GenerateOptions& options, Console& console) {
  const GeneratePlan plan = plan_generate(options);
  for (const std::string& note : without_effect(app, options, plan)) console.note(note);
  if (console.json()) {
    ordered_json parts = ordered_json::object();
    for (const auto& part : plan.parts) parts[part.component] = part.bytes;
    const ordered_json json = {
        {"event", "plan"},
        {"family", plan.family},
        {"prompt", options.prompt},
        {"height", plan.height},
        {"width", plan.width},
        {"steps", plan.steps},
        {"guidance", plan.guidance},
        {"sigmas", plan.sigmas},
        {"quantize", plan.bits ? ordered_json(*plan.bits) : nullptr},
        {"weights", parts},
        {"peak_bytes", plan.peak_bytes}};
    console.object(json);
    return ExitStatus::done;
  }
  console.result(fmt::format(
      "{}, {} x {}, {} steps, guidance {}, on {}",
      plan.title,
      plan.width,
      plan.height,
      plan.steps,
      plan.guidance,
      generate_device()));
  for (const auto& part : plan.parts) {
    console.result(fmt::format("  {:<16} {} of weights", part.component, format_size(part.bytes)));
  }
  console.result(fmt::format("About {} of memory at most", format_size(plan.peak_bytes)));
  return ExitStatus::done;
}

void show(const GenerateProgress& progress, uint64_t seed, Console& console) {
  const double left = progress.seconds_per_step * (progress.steps - progress.step);
  const std::string text = fmt::format(
      " {}/{} steps  {:.2f} s/step  {} left",
      progress.step,
      progress.steps,
      progress.seconds_per_step,
      format_duration(left));
  if (console.draws()) {
    const double share = static_cast<double>(progress.step) / progress.steps;
    console.draw_bar("Drawing", share, text);
  } else {
    console.log(fmt::format("Seed {}:{}", seed, text), false);
  }
}

// `recipe`: how the picture was made.
void write(
    const GeneratedPicture& made,
    const std::filesystem::path& path,
    const std::string& recipe,
    const GenerateArguments& a,
    Console& console) {
  write_png(path, made.picture, {{kRecipeKeyword, recipe}});
  if (a.metadata) {
    std::filesystem::path beside = path;
    write_text_atomically(beside.replace_extension(".metadata.json"), recipe + "\n");
  }
  if (console.json()) {
    const ordered_json json = {{"event", "picture"}, {"path", path.string()}, {"seed", made.seed}};
    console.object(json);
  } else {
    console.result(format_printable("Saved {} (seed {})", path.string(), made.seed));
  }
}

int draw(
    const CLI::App& app,
    const GenerateOptions& options,
    const GenerateArguments& a,
    Console& console) {
  check_output(a.output);
  if (!a.stepwise.empty()) std::filesystem::create_directories(a.stepwise);
  GeneratePlan settled;
  GenerateEvents events;
  events.log = [&](std::string_view line) { console.log(line, false); };
  events.note = [&](std::string_view line) { console.log(line, true); };
  events.plan = [&](const GeneratePlan& plan) {
    settled = plan;
    for (const std::string& note : without_effect(app, options, plan)) console.note(note);
  };
  events.progress = [&](const GenerateProgress& progress) {
    show(progress, options.seeds[progress.picture], console);
  };
  events.picture = [&](const GeneratedPicture& made) {
    const auto path = picture_path(a.output, made.seed, options.seeds.size() > 1);
    write(made, path, format_recipe(options, settled, made.seed), a, console);
  };
  if (!a.stepwise.empty()) {
    events.preview = [&](const GenerateProgress& progress, const Picture& picture) {
      const uint64_t seed = options.seeds[progress.picture];
      const std::string name = fmt::format("seed_{}_step_{:03}.png", seed, progress.step);
      write_png(a.stepwise / name, picture, {});
    };
  }
  events.stop = &interrupted();
  generate(options, events);
  return ExitStatus::done;
}

}  // namespace

Command add_generate(CLI::App& app, const Program& program) {
  auto arguments = std::make_shared<GenerateArguments>();
  add_options(app, *arguments, program);
  return [&app, arguments, program]() -> int {
    const GenerateOptions options = settle(app, *arguments);
    check_family(program, options.model, options.base_model);
    Console console(arguments->console);
    if (arguments->dry_run) return print_dry_run(app, options, console);
    return draw(app, options, *arguments, console);
  };
}

}  // namespace mflux::cli
