// SPDX-License-Identifier: MIT
// One drawing routine for both plots: a dot per tensor, in the order of the model, a band for every
// other block, a line and a label for each kind of block, a grid in round steps. Coordinates have
// one decimal, so the same facts give the same text. No script: a dot's name is its <title>, which
// browsers show.
#include "mflux/report/plots.h"

#include <algorithm>
#include <cmath>

#include "mflux/report/html.h"

namespace mflux::report {
namespace {

constexpr double kWidth = 1000;  // of the drawing; the page scales it
constexpr double kHeight = 250;
constexpr double kLeft = 58;
constexpr double kRight = 8;
constexpr double kTop = 12;
constexpr double kBottom = 46;
constexpr double kBase = kHeight - kBottom;
constexpr double kLetter = 6.2;  // width of an average one, at the labels' size

struct Dot {
  size_t tensor = 0;  // index into facts.baked
  double value = 0;   // in percent
  size_t series = 0;
  std::string text = {};
};

struct Plot {
  std::string title = {};  // for those who do not see it
  double low = 0;          // in percent
  double high = 0;
  std::vector<std::pair<double, std::string>> lines = {};  // value and class
  std::vector<Dot> dots = {};

  // Callers keep `value` from going so far off that the other dots would lie on a line.
  void add(size_t tensor, double value, std::string text, size_t series = 0) {
    low = std::min(low, value);
    high = std::max(high, value);
    dots.push_back({tensor, value, series, std::move(text)});
  }
};

// A step of 1, 2 or 5 times a power of ten that divides `range` into about five.
double nice_step(double range) {
  const double power = std::pow(10, std::floor(std::log10(range / 5)));
  const double rest = range / 5 / power;
  return power * (rest < 1.5 ? 1 : rest < 3.5 ? 2 : rest < 7.5 ? 5 : 10);
}

class Drawing {
 public:
  Drawing(const ReportFacts& facts, const Plot& plot) : facts_(facts), plot_(plot) {
    step_ = nice_step(plot.high - plot.low);
    low_ = std::floor(plot.low / step_ + 1e-9) * step_;
    high_ = std::ceil(plot.high / step_ - 1e-9) * step_;
  }

  std::string run() {
    put(out_,
        "<div class=\"scroll\"><svg class=\"plot\" viewBox=\"0 0 {} {}\" role=\"img\" "
        "aria-label=\"{}\">\n",
        kWidth,
        kHeight,
        escape(plot_.title));
    draw_blocks();
    draw_axis();
    for (const Dot& dot : plot_.dots) {
      put(out_,
          "<circle class=\"s{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\"><title>{}</title></circle>\n",
          series(dot.series),
          x(static_cast<double>(dot.tensor) + 0.5),
          y(dot.value),
          facts_.baked.size() > 150 ? "2.6" : "3.6",
          escape(dot.text));
    }
    for (const auto& [value, name] : plot_.lines) {
      if (value < low_ || value > high_) continue;
      put(out_,
          "<line class=\"{}\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n",
          name,
          kLeft,
          kWidth - kRight,
          y(value),
          y(value));
    }
    return std::move(out_) + "</svg></div>\n";
  }

 private:
  double x(double tensor) const {
    return kLeft + (kWidth - kLeft - kRight) * tensor / static_cast<double>(facts_.baked.size());
  }
  double y(double value) const { return kBase - (kBase - kTop) * (value - low_) / (high_ - low_); }

  void draw_axis() {
    const int digits = std::max(0, static_cast<int>(std::ceil(-std::log10(step_) - 1e-9)));
    for (long i = std::lround(low_ / step_); i <= std::lround(high_ / step_); ++i) {
      const double value = static_cast<double>(i) * step_;
      put(out_,
          "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
          "<text class=\"end\" x=\"{}\" y=\"{:.1f}\">{:.{}f} %</text>\n",
          kLeft,
          kWidth - kRight,
          y(value),
          y(value),
          kLeft - 6,
          y(value) + 4,
          value,
          digits);
    }
  }

  // The first tensor behind `begin` for which `differs` from it.
  template <typename Differs>
  size_t end_of(size_t begin, Differs differs) const {
    size_t end = begin;
    while (end < facts_.baked.size() &&
           !differs(facts_.baked[begin].place, facts_.baked[end].place))
      ++end;
    return end;
  }

  static bool other_kind(const TensorPlace& a, const TensorPlace& b) {
    return a.component != b.component || a.kind != b.kind;
  }
  static bool other_block(const TensorPlace& a, const TensorPlace& b) {
    return other_kind(a, b) || a.block != b.block;
  }

  void draw_blocks() {
    bool shaded = false;
    double labelled = 0;  // where the last number ends
    for (size_t begin = 0, end = 0; begin < facts_.baked.size(); begin = end) {
      end = end_of(begin, other_block);
      const double left = x(static_cast<double>(begin));
      const double right = x(static_cast<double>(end));
      if (shaded) {
        put(out_,
            "<rect class=\"band\" x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\"/>\n",
            left,
            kTop,
            right - left,
            kBase - kTop);
      }
      shaded = !shaded;
      const TensorPlace& place = facts_.baked[begin].place;
      const double middle = (left + right) / 2;
      if (!place.block || middle - kLetter < labelled) continue;
      put(out_,
          "<text class=\"mid\" x=\"{:.1f}\" y=\"{}\">{}</text>\n",
          middle,
          kBase + 15,
          *place.block);
      labelled = middle + 2.5 * kLetter;
    }
    for (size_t begin = 0, end = 0; begin < facts_.baked.size(); begin = end) {
      end = end_of(begin, other_kind);
      draw_kind(begin, end);
    }
  }

  void draw_kind(size_t begin, size_t end) {
    const TensorPlace& place = facts_.baked[begin].place;
    const double left = x(static_cast<double>(begin));
    const double right = x(static_cast<double>(end));
    put(out_,
        "<line class=\"kind\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{}\" y2=\"{}\"/>\n",
        left + 1,
        right - 1,
        kBase + 21,
        kBase + 21);
    for (const std::string& label :
         {place.component + " · " + (place.kind.empty() ? "others" : place.kind),
          place.kind.empty() ? "others" : place.kind,
          place.component}) {
      if (static_cast<double>(label.size()) * kLetter > right - left) continue;
      put(out_,
          "<text class=\"mid\" x=\"{:.1f}\" y=\"{}\">{}</text>\n",
          (left + right) / 2,
          kBase + 37,
          escape(label));
      return;
    }
  }

  const ReportFacts& facts_;
  const Plot& plot_;
  double step_ = 1;
  double low_ = 0;
  double high_ = 1;
  std::string out_ = {};
};

}  // namespace

size_t series(size_t lora) {
  constexpr size_t kColours = 6;
  return lora % kColours;
}

std::string kept_plot(const ReportFacts& facts) {
  Plot plot{
      .title = "Share of every LoRA that survived, layer by layer",
      .low = 99.5,
      .high = 100.5,
      .lines = {{100, "whole"}, {100 * kKeptWarning, "limit"}}};
  for (size_t i = 0; i < facts.baked.size(); ++i) {
    const BakedTensor& tensor = facts.baked[i];
    for (const auto& [lora, share] : tensor.kept) {
      const std::string text = fmt::format(
          "{}\n{} of {} kept, {}",
          tensor.name,
          percent(share, 2),
          facts.loras[lora].record.file.file,
          tensor.stored);
      plot.add(i, std::clamp(share * 100, -100.0, 300.0), text, lora);
    }
  }
  return Drawing(facts, plot).run();
}

std::string error_plot(const ReportFacts& facts) {
  Plot plot{.title = "Error of what is stored, layer by layer", .low = 0, .high = 0.01};
  for (size_t i = 0; i < facts.baked.size(); ++i) {
    const BakedTensor& tensor = facts.baked[i];
    if (!tensor.relative_error) continue;
    const double error = *tensor.relative_error;
    const std::string text =
        fmt::format("{}\n{} off, {}", tensor.name, small_percent(error), tensor.stored);
    plot.add(i, std::min(error * 100, 200.0), text);
  }
  return Drawing(facts, plot).run();
}

}  // namespace mflux::report
