// SPDX-License-Identifier: MIT
#include "mflux/report.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/sizes.h"
#include "mflux/base/error.h"
#include "mflux/base/file.h"

namespace mflux::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct ReportArguments {
  ReportOptions options = {};
  std::string output = {};
  std::string images = {};
  std::string columns = {};  // "a,b,c"
  ConsoleOptions console = {};
};

// NAME-report.html beside the folder, unless asked for another.
fs::path page_path(const ReportArguments& arguments) {
  const fs::path folder = fs::canonical(arguments.options.folder);
  if (arguments.output.empty()) {
    return folder.parent_path() / (folder.filename().string() + "-report.html");
  }
  const fs::path page = fs::weakly_canonical(fs::absolute(arguments.output));
  if (std::ranges::mismatch(folder, page).in1 == folder.end()) {
    fail(
        ErrorKind::usage,
        "-o {}: lies in the saved folder, which holds what its receipt lists and nothing else",
        arguments.output);
  }
  return arguments.output;
}

std::vector<std::string> split(const std::string& names) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < names.size();) {
    const size_t end = std::min(names.find(',', begin), names.size());
    parts.push_back(names.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

Json or_null(const std::optional<double>& value) {
  return value ? Json(*value) : Json();
}

Json decibels(double value) {
  return std::isfinite(value) ? Json(value) : Json();
}

Json loras_to_json(const ReportFacts& facts) {
  Json json = Json::array();
  for (const BakedLora& lora : facts.loras) {
    Json skipped = Json::array();
    for (const BakedLora::SkippedKey& key : lora.skipped) {
      skipped.push_back({{"key", key.key}, {"reason", key.reason}});
    }
    json.push_back(
        {{"file", lora.record.file.file},
         {"dialect", lora.dialect},
         {"scale", lora.record.scale},
         {"layers", lora.record.layers},
         {"kept", lora.record.kept},
         {"keys", lora.keys},
         {"skipped", skipped}});
  }
  return json;
}

Json pictures_to_json(const PictureGrid& grid) {
  Json columns = Json::array();
  for (size_t i = 0; i < grid.columns.size(); ++i) {
    const PictureColumn& column = grid.columns[i];
    Json item = {{"column", column.name}, {"reference", i == grid.reference}};
    Json& pictures = item["pictures"] = Json::array();
    for (const PictureRow& row : grid.rows) {
      const ReportPicture& picture = row.pictures[i];
      Json shown = {{"name", row.name}, {"width", picture.width}, {"height", picture.height}};
      if (picture.difference) {
        shown["psnr_db"] = decibels(picture.difference->psnr_db);
        shown["ssim"] = picture.difference->ssim;
      }
      pictures.push_back(std::move(shown));
    }
    if (i != grid.reference) {
      item["mean_psnr_db"] = or_null(column.mean_psnr_db);
      item["mean_ssim"] = column.mean_ssim;
      item["equal"] = column.equal;
    }
    columns.push_back(std::move(item));
  }
  return columns;
}

Json to_json(const ReportFacts& facts, const std::string& page) {
  Json sizes = Json::array();
  for (const ComponentSize& size : facts.sizes) {
    sizes.push_back({{"component", size.name}, {"before", size.before}, {"after", size.after}});
  }
  Json stored = Json::object();
  for (const HeldTensor& tensor : facts.tensors) {
    Json& count = stored[tensor.stored];
    count = count.is_null() ? 1 : count.get<int>() + 1;
  }
  return {
      {"event", "report"},
      {"page", page},
      {"verdict", facts.verdict},
      {"warnings", facts.warnings},
      {"baked", facts.baked.size()},
      {"mean_kept", or_null(facts.mean_kept())},
      {"mean_relative_error", or_null(facts.mean_relative_error())},
      {"sizes", sizes},
      {"stored", stored},
      {"loras", loras_to_json(facts)},
      {"pictures", facts.pictures ? pictures_to_json(*facts.pictures) : Json()}};
}

int run(const ReportArguments& arguments) {
  ReportOptions options = arguments.options;
  if (!arguments.images.empty()) options.images = arguments.images;
  options.columns = split(arguments.columns);
  if (!options.images && (!options.columns.empty() || !options.reference.empty())) {
    fail(ErrorKind::usage, "--columns and --reference are for --images");
  }
  const ReportFacts facts = gather_report(options);
  const fs::path page = page_path(arguments);
  const std::string text = format_report(facts);
  write_text_atomically(page, text);
  Console console(arguments.console);
  if (console.json()) {
    console.object(to_json(facts, page.string()));
    return ExitStatus::done;
  }
  console.result(facts.verdict);
  for (const std::string& warning : facts.warnings)
    console.result(format_printable("Note: {}", warning));
  console.result(format_printable("Wrote {}, {}", page.string(), format_size(text.size())));
  return ExitStatus::done;
}

}  // namespace

Command add_report(CLI::App& app, const Program&) {
  auto arguments = std::make_shared<ReportArguments>();
  app.add_option("folder", arguments->options.folder, "The saved folder")
      ->required()
      ->type_name("FOLDER");
  app.add_option("-o,--output", arguments->output, "The page (default: FOLDER-report.html)")
      ->type_name("FILE.html");
  app.add_option(
         "--images",
         arguments->images,
         "Show pictures: a folder for each column, in each the same NAME.png files")
      ->type_name("FOLDER");
  app.add_option("--columns", arguments->columns, "These columns in this order (default: all)")
      ->type_name("NAMES");
  app.add_option(
         "--reference",
         arguments->options.reference,
         "The column that the others are compared to (default: the first)")
      ->type_name("NAME");
  app.add_flag("--json", arguments->console.json, "The facts of the page as one JSON object");
  return [arguments] { return run(*arguments); };
}

}  // namespace mflux::cli
