// SPDX-License-Identifier: MIT
#include "mflux/report/verdict.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "mflux/report/html.h"

namespace mflux::report {
namespace {

std::string count(size_t number, std::string_view what) {
  return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
}

// What the changes had to survive: "8-bit quantization", "rounding to BF16".
std::string storing(const ReportFacts& facts) {
  std::set<std::string> widths;
  std::set<std::string> dtypes;
  for (const BakedTensor& tensor : facts.baked) {
    const auto bits = bits_of(tensor.stored);
    (bits ? widths : dtypes).insert(bits.value_or(tensor.stored));
  }
  if (!widths.empty()) return fmt::format("{}-bit quantization", fmt::join(widths, "- and "));
  return fmt::format("rounding to {}", fmt::join(dtypes, " and "));
}

std::string form(const ReportFacts& facts) {
  std::set<std::string> forms;
  for (const HeldTensor& tensor : facts.tensors) {
    if (const auto bits = bits_of(tensor.stored)) forms.insert(*bits);
  }
  if (forms.empty()) return "in full precision";
  return fmt::format("at {} bits", fmt::join(forms, " and "));
}

// How much of the LoRAs that were merged survived, as a subject.
std::string survivors(const std::vector<const BakedLora*>& merged) {
  const auto lost = std::ranges::count_if(
      merged, [](const BakedLora* lora) { return is_noise(lora->record.kept); });
  if (lost != 0 && merged.size() == 1) return "nothing that could be told from noise";
  if (lost != 0) return fmt::format("nothing of {} that could be told from noise", lost);
  double least = 1;  // more than all is luck, and nothing to boast of
  std::set<std::string> shares;
  for (const BakedLora* lora : merged) {
    least = std::min(least, lora->record.kept);
    shares.insert(percent(std::min(lora->record.kept, 1.0)));
  }
  if (merged.size() == 1) return percent(least) + " of its change";
  if (shares.size() == 1) return percent(least) + " of their change";
  return "at least " + percent(least) + " of each one's change";
}

std::string verdict(const ReportFacts& facts) {
  if (facts.loras.empty()) {
    return fmt::format("A {} stored {}; no LoRA was baked in.", facts.title, form(facts));
  }
  std::vector<const BakedLora*> merged;
  for (const BakedLora& lora : facts.loras) {
    if (lora.record.layers != 0) merged.push_back(&lora);
  }
  if (merged.empty() || facts.baked.empty()) {
    return fmt::format(
        "None of {} changed this {}, which is stored {}.",
        count(facts.loras.size(), "LoRA"),
        facts.title,
        form(facts));
  }
  const std::string some =
      merged.size() < facts.loras.size() ? fmt::format("{} of ", merged.size()) : std::string();
  return fmt::format(
      "{}{} merged into {} of a {}; {} survives {}.",
      some,
      count(facts.loras.size(), "LoRA"),
      count(facts.baked.size(), "layer"),
      facts.title,
      survivors(merged),
      storing(facts));
}

}  // namespace

void judge(ReportFacts& facts) {
  facts.verdict = verdict(facts);
  bool skipped = false;
  for (const BakedLora& lora : facts.loras) {
    const std::string& file = lora.record.file.file;
    skipped = skipped || !lora.skipped.empty();
    if (lora.record.layers == 0) {
      facts.warnings.push_back(fmt::format("{} was not merged at all.", file));
    } else if (is_noise(lora.record.kept)) {
      facts.warnings.push_back(fmt::format(
          "{} is lost in the noise: {} moves the weights {:.2f} times as far as the LoRA itself.",
          file,
          storing(facts),
          lora.record.kept));
    } else if (lora.record.kept < kKeptWarning) {
      facts.warnings.push_back(fmt::format(
          "Only {} of {} survives {}. More bits, --rounding delta or baking from the "
          "full-precision model keep more.",
          percent(lora.record.kept),
          file,
          storing(facts)));
    }
    if (!lora.skipped.empty()) {
      facts.warnings.push_back(fmt::format(
          "{} of the {} in {} left out: see the end of this page.",
          lora.skipped.size(),
          count(lora.keys, "key"),
          file));
    }
  }
  if (skipped && facts.receipt.options.on_lora_failure == OnLoraFailure::full_precision) {
    facts.warnings.emplace_back("Because of that, as asked, the model was not quantized.");
  }
}

}  // namespace mflux::report
