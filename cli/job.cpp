// SPDX-License-Identifier: MIT
#include "cli/job.h"

#include <chrono>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/plan.h"
#include "cli/sizes.h"
#include "mflux/base/printable.h"

namespace mflux::cli {

void print_report(
    Console& console, const SaveOptions& options, const SaveReport& report, double seconds) {
  if (console.json()) {
    nlohmann::ordered_json loras = nlohmann::ordered_json::array();
    for (const LoraRecord& lora : report.receipt.loras) {
      loras.push_back(
          {{"file", lora.file.file},
           {"scale", lora.scale},
           {"layers", lora.layers},
           {"kept", lora.kept}});
    }
    const nlohmann::ordered_json json = {
        {"event", "saved"},
        {"path", options.output.string()},
        {"bytes", report.output_bytes},
        {"source_bytes", report.source_bytes},
        {"seconds", seconds},
        {"resumed_shards", report.resumed_shards},
        {"loras", loras},
        {"warnings", report.warnings}};
    console.object(json);
  } else {
    console.result(format_printable(
        "Saved {} ({} from {}) in {:.1f} s. Prove it: mflux verify {}",
        options.output.string(),
        format_size(report.output_bytes),
        format_size(report.source_bytes),
        seconds,
        options.output.string()));
  }
}

int run_job(const JobOptions& options, const ConsoleOptions& console_options) {
  Console console(console_options);
  const auto begin = std::chrono::steady_clock::now();
  const JobReport report = save_job(options, console.events("Saving"));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  for (size_t i = 0; i < report.outputs.size(); ++i)
    print_report(console, options.outputs[i], report.outputs[i], seconds);
  if (console.json()) {
    const nlohmann::ordered_json json = {
        {"event", "job"},
        {"outputs", report.outputs.size()},
        {"shared_shards", report.shared_shards},
        {"shared_bytes", report.shared_bytes},
        {"was_done", report.was_done},
        {"seconds", seconds}};
    console.object(json);
    return ExitStatus::done;
  }
  console.result(format_printable(
      "{} outputs in {:.1f} s; {} shard(s), {}, are shared with another output",
      report.outputs.size(),
      seconds,
      report.shared_shards,
      format_size(report.shared_bytes)));
  return ExitStatus::done;
}

int print_job_plan(const JobOptions& options, const ConsoleOptions& console_options) {
  Console console(console_options);
  const JobPlan job = plan_job(options, console.events("Measuring"));
  for (const JobOutput& output : job.outputs) {
    uint64_t shared = 0;
    for (const auto& [shard, from] : output.shared) shared += output.plan.shards[shard].bytes;
    if (console.json()) {
      const nlohmann::ordered_json json = {
          {"event", "output"},
          {"path", output.options.output.string()},
          {"shared_shards", output.shared.size()},
          {"shared_bytes", shared}};
      console.object(json);
    } else {
      console.result(format_printable(
          "\n{}: {} shard(s), {}, shared with outputs above",
          output.options.output.string(),
          output.shared.size(),
          format_size(shared)));
    }
    print_plan(output.plan, *output.loras, console);
  }
  return ExitStatus::done;
}

}  // namespace mflux::cli
