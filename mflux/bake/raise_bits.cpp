// SPDX-License-Identifier: MIT
// Plan, measure, raise, plan again: each round is a pass over the tensors still in question,
// without a sink and without hashing, and raises those in which too little survives by one step of
// kBits. A tensor is done when enough survives or it has 8 bits, so there are at most six rounds,
// and each but the first is over the tensors alone that were just raised.
#include "mflux/bake/raise_bits.h"

#include <algorithm>
#include <array>
#include <set>

#include <fmt/format.h>

#include "mflux/bake/pass.h"
#include "mflux/bake/plan.h"
#include "mflux/base/error.h"

namespace mflux {
namespace {

constexpr std::array<int, 6> kBits = {2, 3, 4, 5, 6, 8};

class NoSink : public Sink {
 public:
  void write(const PlannedPart&, uint64_t, std::span<const std::byte>) override {}
};

class Escalation {
 public:
  Escalation(
      const Checkpoint& model,
      lora::Loaded& loras,
      const SaveOptions& options,
      const SaveEvents& events)
      : model_(model),
        loras_(loras),
        options_(options),
        events_(events),
        enough_(options.min_kept.value_or(kKeptWarning)),
        plan_(make_plan(model, loras, options)) {}

  Plan run() {
    for (const PlannedTensor& tensor : plan_.tensors) {
      if (!tensor.baked() || !tensor.format) continue;
      check_mode(tensor);
      to_measure_.insert(plan_.name_of(tensor));
    }
    if (to_measure_.empty()) refuse_full_precision();
    while (!to_measure_.empty()) {
      raise(measure());
      if (!to_measure_.empty()) plan_ = make_plan(model_, loras_, options_, bits_);
    }
    note_raised();
    return std::move(plan_);
  }

 private:
  void check_mode(const PlannedTensor& tensor) const {
    if (tensor.format->mode == QuantMode::affine) return;
    fail(
        ErrorKind::usage,
        "{}: is {}, and --escalate can raise the bits of affine formats only",
        plan_.name_of(tensor),
        to_string(*tensor.format));
  }

  void refuse_full_precision() const {
    if (options_.loras.empty())
      fail(ErrorKind::usage, "--escalate needs --lora: it raises bits where a LoRA is lost");
    if (options_.on_lora_failure == OnLoraFailure::full_precision) return;
    fail(
        ErrorKind::usage,
        "--escalate needs packed weights: add --quantize, or leave it out for full precision");
  }

  // The share that survives of the LoRA that loses most, by tensor.
  std::map<std::string, double> measure() const {
    NoSink sink;
    PassOptions options{
        .max_memory = options_.max_memory, .stop = events_.stop, .hash_inputs = false};
    options.only = [&](const PlannedTensor& tensor) {
      return to_measure_.count(plan_.name_of(tensor)) != 0;
    };
    SaveProgress progress{.bytes_total = bytes_to_read(model_, plan_, options)};
    options.on_progress = [&](uint64_t bytes) {
      progress.bytes_done = bytes;
      if (events_.progress) events_.progress(progress);
    };
    if (events_.headline) {
      events_.headline(
          fmt::format("Measuring what survives in {} baked tensor(s)...", to_measure_.size()));
    }
    std::map<std::string, double> kept;
    for (const auto& [tensor, sums] : run_pass(model_, plan_, options, sink).baked) {
      double least = 1;
      for (const auto& [index, lora] : sums.loras) {
        least = std::min(least, is_noise(lora.kept()) ? 0 : lora.kept());
      }
      kept[plan_.name_of(*tensor)] = least;
    }
    return kept;
  }

  // Leaves in to_measure_ what has other bits now.
  void raise(const std::map<std::string, double>& kept) {
    to_measure_.clear();
    for (const PlannedTensor& tensor : plan_.tensors) {
      const auto it = kept.find(plan_.name_of(tensor));
      if (it == kept.end() || it->second >= enough_) continue;
      const auto next = std::upper_bound(kBits.begin(), kBits.end(), tensor.format->bits);
      const bool raised = next != kBits.end();
      if (raised) {
        bits_[it->first] = *next;
        to_measure_.insert(it->first);
      } else {
        ++hopeless_;
      }
      if (!events_.log) continue;
      events_.log(fmt::format(
          "{}: kept {:.4f} at {} bits: {}",
          it->first,
          it->second,
          tensor.format->bits,
          raised ? fmt::format("raised to {}", *next) : "there are no more"));
    }
  }

  void note_raised() {
    std::map<int, size_t> counts;
    for (const auto& [name, bits] : bits_) ++counts[bits];
    std::string list;
    for (const auto& [bits, count] : counts)
      list += fmt::format("{}{} to {} bits", list.empty() ? "" : ", ", count, bits);
    if (list.empty()) list = "none";
    plan_.notes.push_back(fmt::format(
        "--escalate: layers raised because less than {:g} of a LoRA survived: {}", enough_, list));
    if (hopeless_ == 0) return;
    plan_.notes.push_back(
        fmt::format("--escalate: {} layer(s) keep less than that even at 8 bits", hopeless_));
  }

  const Checkpoint& model_;
  lora::Loaded& loras_;
  const SaveOptions& options_;
  const SaveEvents& events_;
  double enough_;
  Plan plan_;
  BitsByTensor bits_ = {};
  std::set<std::string> to_measure_ = {};
  size_t hopeless_ = 0;  // tensors that keep too little at 8 bits
};

}  // namespace

Plan raise_bits(
    const Checkpoint& model,
    lora::Loaded& loras,
    const SaveOptions& options,
    const SaveEvents& events) {
  return Escalation(model, loras, options, events).run();
}

}  // namespace mflux
