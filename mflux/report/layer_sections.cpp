// SPDX-License-Identifier: MIT
#include <algorithm>
#include <map>

#include "mflux/report/html.h"
#include "mflux/report/plots.h"
#include "mflux/report/sections.h"

namespace mflux::report {
namespace {

constexpr size_t kWorst = 10;

void put_worst(std::string& out, const ReportFacts& facts) {
  std::vector<const BakedTensor*> worst;
  for (const BakedTensor& tensor : facts.baked) worst.push_back(&tensor);
  std::ranges::stable_sort(worst, {}, [](const BakedTensor* tensor) { return tensor->worst(); });
  worst.resize(std::min(worst.size(), kWorst));
  std::vector<std::vector<std::string>> rows;
  for (const BakedTensor* tensor : worst) {
    std::string stored = escape(tensor->stored);
    if (tensor->raised_from) put(stored, ", instead of {} bits", *tensor->raised_from);
    rows.push_back(
        {escape_name(tensor->name),
         percent(tensor->worst(), 2),
         tensor->relative_error ? small_percent(*tensor->relative_error) : "–",
         std::move(stored)});
  }
  out += "<h3>Where least was kept</h3>\n" + table({"Tensor", ">Kept", ">Error", "Stored"}, rows);
}

void put_component(std::string& out, const ReportFacts& facts, const std::string& component) {
  std::map<std::string, size_t> forms;
  size_t tensors = 0;
  for (const HeldTensor& tensor : facts.tensors) {
    if (tensor.place.component != component) continue;
    ++forms[tensor.stored];
    ++tensors;
  }
  put(out,
      "<details{}><summary>{}: {} tensors{}</summary><div class=\"maps\">\n{}</div></details>\n",
      forms.size() > 1 ? " open" : "",
      escape(component),
      tensors,
      forms.size() == 1 ? ", all " + escape(forms.begin()->first) : "",
      bits_maps(facts, component));
}

}  // namespace

void put_layers(std::string& out, const ReportFacts& facts) {
  if (facts.baked.empty()) return;
  const auto low = std::ranges::count_if(
      facts.baked, [](const BakedTensor& tensor) { return tensor.worst() < kKeptWarning; });
  put(out,
      "<h2>Layer by layer</h2>\n<h3>Kept</h3>\n<p class=\"quiet\">How much of a LoRA's change is "
      "still there after storing. 100&nbsp;% (dashed) is all of it; a little more or less is the "
      "luck of rounding. Less than {:.0f}&nbsp;% (the lower dashed line, if in sight) was kept in "
      "{} of {} layers. Point at a dot for its name.</p>\n",
      100 * kKeptWarning,
      low,
      facts.baked.size());
  if (facts.loras.size() > 1) {
    out += "<ul class=\"keys\">\n";
    for (size_t i = 0; i < facts.loras.size(); ++i) {
      put(out,
          "<li><i class=\"dot s{}\"></i>{}</li>\n",
          series(i),
          escape(facts.loras[i].record.file.file));
    }
    out += "</ul>\n";
  }
  out += kept_plot(facts);
  put(out,
      "<h3>Error</h3>\n<p class=\"quiet\">How far the stored weights are from the exact sum of "
      "model and LoRAs, in percent of the layer's size (norm). Mean of all layers: {}.</p>\n",
      small_percent(facts.mean_relative_error().value_or(0)));
  out += error_plot(facts);
  put_worst(out, facts);
}

void put_storage(std::string& out, const ReportFacts& facts) {
  std::map<std::string, std::pair<size_t, uint64_t>> forms;
  for (const HeldTensor& tensor : facts.tensors) {
    auto& [count, bytes] = forms[tensor.stored];
    ++count;
    bytes += tensor.bytes;
  }
  out +=
      "<h2>How it is stored</h2>\n<p class=\"quiet\">A square is a tensor: a row for each block, a "
      "column for each layer. A dot in it: a LoRA changed it.</p>\n"
      "<ul class=\"keys\">\n";
  for (const auto& [form, sum] : forms) {
    put(out,
        "<li><i class=\"{}\"></i>{} <span class=\"quiet\">{} tensors, {}</span></li>\n",
        escape(storage_class(form)),
        escape(form),
        sum.first,
        readable_size(sum.second));
  }
  out += "</ul>\n";
  for (const ComponentSize& size : facts.sizes) put_component(out, facts, size.name);
}

}  // namespace mflux::report
