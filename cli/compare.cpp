// SPDX-License-Identifier: MIT
#include "mflux/compare.h"

#include <cmath>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/console.h"
#include "mflux/base/printable.h"
#include "mflux/hub/hub.h"

namespace mflux::cli {
namespace {

using Json = nlohmann::ordered_json;

struct CompareArguments {
  std::string a = {};
  std::string b = {};
  bool all = false;
  ConsoleOptions console = {};
};

Json to_json(std::string_view event, const TensorDifference& tensor) {
  return {
      {"event", event},
      {"name", tensor.name},
      {"max_error", tensor.max_error},
      {"relative_error", tensor.relative_error},
      {"sqnr_db", std::isfinite(tensor.sqnr_db) ? Json(tensor.sqnr_db) : Json()}};
}

std::string to_line(const TensorDifference& tensor) {
  if (tensor.max_error == 0) return format_printable("{}: equal", tensor.name);
  return format_printable(
      "{}: max {:.3g}, relative {:.3g}, {:.1f} dB",
      tensor.name,
      tensor.max_error,
      tensor.relative_error,
      tensor.sqnr_db);
}

int run(const CompareArguments& arguments) {
  Console console(arguments.console);
  const CompareReport report = compare(
      hub::resolve_model(arguments.a),
      hub::resolve_model(arguments.b),
      console.events("Comparing"));
  size_t equal = 0;
  for (const TensorDifference& tensor : report.tensors) {
    equal += tensor.max_error == 0 ? 1 : 0;
    if (console.json())
      console.object(to_json("tensor", tensor));
    else if (tensor.max_error != 0 || arguments.all)
      console.result(to_line(tensor));
  }
  const auto list = [&](std::string_view what, const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      if (console.json())
        console.object({{"event", what}, {"name", name}});
      else
        console.result(format_printable("{}: {}", what, name));
    }
  };
  list("only in the first", report.only_a);
  list("only in the second", report.only_b);
  list("other shape", report.other_shape);
  const TensorDifference total = report.total();
  if (console.json()) {
    console.object(to_json("total", total));
  } else {
    console.result(format_printable("{} of {} tensors equal", equal, report.tensors.size()));
    if (total.max_error != 0) console.result(to_line(total));
  }
  if (report.equal()) return ExitStatus::done;
  console.wrong(format_printable(
      "{} and {} differ: {} of {} tensors have other values, {} are only in the first, {} only in "
      "the second, {} have another shape",
      arguments.a,
      arguments.b,
      report.tensors.size() - equal,
      report.tensors.size(),
      report.only_a.size(),
      report.only_b.size(),
      report.other_shape.size()));
  return ExitStatus::difference;
}

}  // namespace

Command add_compare(CLI::App& app, const Program&) {
  auto arguments = std::make_shared<CompareArguments>();
  app.add_option("a", arguments->a, "A model: folder, file or name")
      ->required()
      ->type_name("MODEL");
  app.add_option("b", arguments->b, "Another model")->required()->type_name("MODEL");
  app.add_flag("--all", arguments->all, "List equal tensors too");
  app.add_flag("--json", arguments->console.json, "One JSON object a line");
  return [arguments] { return run(*arguments); };
}

}  // namespace mflux::cli
