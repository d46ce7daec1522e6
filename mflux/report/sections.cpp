// SPDX-License-Identifier: MIT
// Text only: the facts were gathered before (mflux/report.cpp). Whatever comes from a file goes
// through escape().
#include "mflux/report/sections.h"

#include <algorithm>

#include "mflux/report/html.h"
#include "mflux/report/style.h"

namespace mflux::report {
namespace {

std::string optional_percent(const std::optional<double>& share) {
  return share ? percent(*share) : "–";
}

void put_tile(std::string& out, std::string_view term, const std::string& value) {
  put(out, "<div><dt>{}</dt><dd>{}</dd></div>\n", term, escape(value));
}

void put_files(std::string& out, std::string_view what, const std::vector<FileRecord>& files) {
  uint64_t bytes = 0;
  std::vector<std::vector<std::string>> rows;
  for (const FileRecord& file : files) {
    bytes += file.bytes;
    std::string hashes = "XXH3-128 " + escape(file.xxh3_128);
    if (!file.sha256.empty()) hashes += "<br>SHA-256 " + escape(file.sha256);
    rows.push_back(
        {escape_name(file.file), readable_size(file.bytes), "<code>" + hashes + "</code>"});
  }
  put(out,
      "<details><summary>{}: {}, {}</summary>{}</details>\n",
      what,
      files.size(),
      readable_size(bytes),
      table({"File", ">Size", "Hash"}, rows));
}

void put_loras(std::string& out, const ReportFacts& facts) {
  if (facts.loras.empty()) {
    out += "<p>No LoRA.</p>\n";
    return;
  }
  std::vector<std::vector<std::string>> rows;
  for (const BakedLora& lora : facts.loras) {
    const LoraRecord& record = lora.record;
    rows.push_back(
        {escape_name(record.file.file),
         record.layers == 0      ? "–"
         : is_noise(record.kept) ? "noise"
                                 : percent(record.kept),
         std::to_string(record.layers),
         escape(fmt::format(
             "{}{}{}", record.scale, record.block_scales.empty() ? "" : "; ", record.block_scales)),
         fmt::format("{} of {}", lora.keys - lora.skipped.size(), lora.keys),
         escape(lora.dialect)});
  }
  out += table({"LoRA", ">Kept", ">Layers", ">Scale", ">Keys used", "Dialect"}, rows);
}

void put_options(std::string& out, const ReportFacts& facts) {
  const SaveOptions& options = facts.receipt.options;
  std::string quantization(quant_mode_name(options.mode));
  if (options.bits) quantization = fmt::format("{} bits, {}", *options.bits, quantization);
  if (options.group_size) quantization += fmt::format(", groups of {}", *options.group_size);
  if (options.quantize_at_load) quantization += ", when it is loaded";
  if (!options.bits && options.mode == QuantMode::affine) quantization = "none asked for";
  const std::vector<std::pair<std::string_view, std::string>> rows = {
      {"Quantization", quantization},
      {"Rounding", std::string(to_string(options.rounding))},
      {"Layout", std::string(to_string(options.layout))},
      {"LoRA that does not fit", std::string(to_string(options.on_lora_failure))},
      {"Share that must be kept", optional_percent(options.min_kept)},
      {"More bits where too little is kept", options.escalate ? "yes" : "no"},
      {"Largest file", readable_size(options.max_shard_bytes)},
      {"Program", "mflux.cpp " + facts.receipt.program_version}};
  out += "<dl class=\"facts\">\n";
  for (const auto& [term, value] : rows) put_tile(out, term, value);
  out += "</dl>\n";
}

void put_bar(std::string& out, std::string_view kind, uint64_t bytes, uint64_t most) {
  put(out,
      "<span class=\"bar {}\"><i style=\"width:{:.1f}%\"></i>{} {}</span>\n",
      kind,
      // Not more than what leaves room for the number on a phone.
      most == 0 ? 0 : 62 * static_cast<double>(bytes) / static_cast<double>(most),
      bytes == 0 ? "not stated" : readable_size(bytes),
      kind);
}

}  // namespace

void put_head(std::string& out, const ReportFacts& facts) {
  put(out,
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n"
      "<title>{}: what mflux baked</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n",
      escape(facts.name),
      style());
}

void put_verdict(std::string& out, const ReportFacts& facts) {
  put(out,
      "<p class=\"over\">What mflux baked</p>\n<h1>{}</h1>\n"
      "<section class=\"verdict{}\"><p>{}</p>\n",
      escape(facts.name),
      facts.warnings.empty() ? "" : " warn",
      escape(facts.verdict));
  if (!facts.warnings.empty()) {
    out += "<ul>\n";
    for (const std::string& warning : facts.warnings) put(out, "<li>{}</li>\n", escape(warning));
    out += "</ul>\n";
  }
  out += "</section>\n<dl class=\"tiles\">\n";
  const ComponentSize all = facts.all_together();
  put_tile(out, "Model", facts.title);
  put_tile(out, "LoRAs", std::to_string(facts.loras.size()));
  put_tile(out, "Layers changed", std::to_string(facts.baked.size()));
  put_tile(out, "Kept on average", optional_percent(facts.mean_kept()));
  put_tile(out, "Weights", readable_size(all.after));
  if (all.before != 0) {
    put_tile(
        out,
        "Of the source's size",
        fmt::format(
            "{:.0f} %", 100 * static_cast<double>(all.after) / static_cast<double>(all.before)));
  }
  out += "</dl>\n";
}

void put_sources(std::string& out, const ReportFacts& facts) {
  out += "<h2>What was baked</h2>\n";
  put_loras(out, facts);
  put_options(out, facts);
  put_files(out, "Files of the model that went in", facts.receipt.inputs);
  std::vector<FileRecord> loras;
  for (const BakedLora& lora : facts.loras) loras.push_back(lora.record.file);
  if (!loras.empty()) put_files(out, "LoRA files", loras);
  put_files(out, "Files that came out", facts.receipt.outputs);
}

void put_sizes(std::string& out, const ReportFacts& facts) {
  const ComponentSize total = facts.all_together();
  const uint64_t most = std::max(total.before, total.after);
  std::vector<ComponentSize> sizes = facts.sizes;
  if (sizes.size() > 1) sizes.push_back(total);
  out +=
      "<h2>Size</h2>\n<p class=\"quiet\">Files of weights, before and after.</p>\n"
      "<div class=\"bars\">\n";
  for (const ComponentSize& size : sizes) {
    put(out, "<span>{}</span><div>\n", escape(size.name));
    put_bar(out, "before", size.before, most);
    put_bar(out, "after", size.after, most);
    out += "</div>\n";
  }
  out += "</div>\n";
}

void put_left_out(std::string& out, const ReportFacts& facts) {
  if (facts.loras.empty()) return;
  out += "<h2>Left out</h2>\n";
  const bool none =
      std::ranges::all_of(facts.loras, [](const BakedLora& lora) { return lora.skipped.empty(); });
  if (none) {
    out += "<p>Nothing: every key of every LoRA was used.</p>\n";
    return;
  }
  std::vector<std::vector<std::string>> rows;
  for (const BakedLora& lora : facts.loras) {
    for (const BakedLora::SkippedKey& key : lora.skipped) {
      rows.push_back(
          {escape_name(key.key), escape_name(key.reason), escape_name(lora.record.file.file)});
    }
  }
  out += table({"Key", "Why", "LoRA"}, rows);
}

void put_foot(std::string& out) {
  out +=
      "<footer>From bake.json and the headers of the files; <code>mflux verify</code> proves "
      "them.</footer>\n</main>\n</body>\n</html>\n";
}

}  // namespace mflux::report
