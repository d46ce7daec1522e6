// SPDX-License-Identifier: MIT
#include "mflux/verify.h"

#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/lora_arguments.h"
#include "mflux/base/error.h"

namespace mflux::cli {
namespace {

struct VerifyArguments {
  std::string folder = {};
  std::string base = {};
  LoraArguments loras = {};
  ConsoleOptions console = {};
};

std::string verdict(const VerifyReport& report) {
  if (!report.passed()) return "Not verified: see the lines marked FAILED.";
  if (report.absent.empty()) return "Verified.";
  return format_printable(
      "Verified as a part of a model: mflux generate cannot use it without {}.",
      fmt::join(report.absent, ", "));
}

int run(const VerifyArguments& arguments) {
  VerifyOptions options{.folder = arguments.folder, .loras = settle_loras(arguments.loras)};
  if (!arguments.base.empty()) options.base = arguments.base;
  if (!options.loras.empty() && !options.base) {
    fail(ErrorKind::usage, "--lora needs --base: the bake is repeated from the base model");
  }
  Console console(arguments.console);
  const VerifyReport report = verify(options, console.events("Verifying"));
  for (const Check& check : report.checks) {
    if (console.json()) {
      const nlohmann::ordered_json json = {
          {"event", "check"},
          {"name", check.name},
          {"passed", check.passed},
          {"detail", check.detail}};
      console.object(json);
    } else {
      console.result(format_printable(
          "{}  {}: {}",
          check.passed ? "ok    " : "FAILED",
          check.name,
          Shown{check.passed ? printable(check.detail) : check.detail}));
    }
  }
  if (console.json()) {
    const nlohmann::ordered_json json = {
        {"event", "verified"}, {"passed", report.passed()}, {"absent", report.absent}};
    console.object(json);
  } else {
    console.result(verdict(report));
  }
  if (report.passed()) return ExitStatus::done;
  for (const Check& check : report.checks) {
    if (!check.passed) {
      console.wrong(
          format_printable("{}: {}: {}", arguments.folder, check.name, Shown{check.detail}));
    }
  }
  return ExitStatus::difference;
}

}  // namespace

Command add_verify(CLI::App& app, const Program&) {
  auto arguments = std::make_shared<VerifyArguments>();
  app.add_option("folder", arguments->folder, "The saved folder")->required()->type_name("FOLDER");
  app.add_option(
         "--base",
         arguments->base,
         "The model it was made from: bake again and compare bit for bit")
      ->type_name("MODEL");
  add_lora_options(app, arguments->loras);
  app.add_flag("--json", arguments->console.json, "One JSON object a line");
  app.add_flag("-v,--verbose", arguments->console.verbose, "Every line of the log");
  return [arguments] { return run(*arguments); };
}

}  // namespace mflux::cli
