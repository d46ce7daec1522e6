// SPDX-License-Identifier: MIT
#include "mflux/generate.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>

#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/checkpoint/checkpoint.h"
#include "mflux/generate/runtime_loras.h"
#include "mflux/generate/settle.h"
#include "mflux/hub/hub.h"
#include "mflux/nn/schedule.h"
#include "mflux/pipelines/pipeline.h"
#include "mflux/pipelines/resample.h"

namespace mflux {
namespace {

using Clock = std::chrono::steady_clock;
using pipelines::Condition;
using pipelines::Pipeline;

constexpr int kTokenValues = 64;  // 16 channels of 2 x 2 latent pixels

// Bytes -> float32 [height, width, 3] in -1..1.
mx::array to_array(const Picture& picture) {
  const mx::array bytes(picture.rgb.begin(), {picture.height, picture.width, 3}, mx::uint8);
  return mx::subtract(
      mx::multiply(mx::astype(bytes, mx::float32), mx::array(2.0F / 255)), mx::array(1.0F));
}

// float32 [height, width, 3], nominally in -1..1, to bytes.
Picture to_picture(const mx::array& image) {
  const mx::array unit = mx::clip(
      mx::add(mx::multiply(image, mx::array(0.5F)), mx::array(0.5F)),
      mx::array(0.0F),
      mx::array(1.0F));
  mx::array bytes =
      mx::contiguous(mx::astype(mx::round(mx::multiply(unit, mx::array(255.0F))), mx::uint8));
  mx::eval(bytes);
  const auto* data = bytes.data<uint8_t>();
  return {bytes.shape(0), bytes.shape(1), std::vector<uint8_t>(data, data + bytes.size())};
}

bool is_finite(const mx::array& values) {
  return mx::all(mx::isfinite(values)).item<bool>();
}

class Generator {
 public:
  Generator(const GenerateOptions& options, const GenerateEvents& events)
      : model_(open_checkpoint(hub::resolve_model(options.model), options.base_model)),
        options_(for_model(options, model_)),
        events_(events),
        inputs_(read_pictures(options_)),
        loras_(load_runtime_loras(model_, options)),
        pipeline_(make_pipeline()) {
    plan_ = settle(options_, inputs_, model_, pipeline_->defaults());
    solver_kind_ = solver_kind(options_);
  }

  const GeneratePlan& plan() const { return plan_; }

  Generated run() {
    for (const std::string& note : loras_.loaded.notes) tell(events_.note, note);
    tell(events_.plan, plan_);
    describe_plan();
    bake_in_memory(model_, loras_, events_.stop);
    const std::optional<mx::array> begin = encode_image();
    const Condition condition = pipeline_->condition(request());
    for (const std::string& note : condition.notes) tell(events_.note, note);
    mx::clear_cache();
    std::vector<mx::array> latents;
    for (size_t i = 0; i < options_.seeds.size(); ++i) {
      latents.push_back(denoise(i, begin, condition));
      if (!options_.low_memory) finish(i, latents[i]);
    }
    if (options_.low_memory) {
      pipeline_->drop_transformer();
      for (size_t i = 0; i < latents.size(); ++i) finish(i, latents[i]);
    }
    return {std::move(plan_), std::move(pictures_)};
  }

 private:
  template <typename Callback, typename... Args>
  static void tell(const Callback& callback, const Args&... args) {
    if (callback) callback(args...);
  }

  std::unique_ptr<Pipeline> make_pipeline() {
    return pipelines::make_pipeline(
        model_,
        {.load =
             {.quantize = load_format(options_, model_),
              .changes = &loras_.changes,
              .products = products(options_)},
         .low_memory = options_.low_memory,
         .vae_tile = options_.vae_tile,
         .on_load = [this](std::string_view component) {
           check_stop();
           tell(events_.log, fmt::format("Loading {}...", component));
         }});
  }

  void describe_plan() {
    tell(
        events_.log,
        fmt::format(
            "{}: {} x {}, {} steps, guidance {}, on {}",
            plan_.title,
            plan_.width,
            plan_.height,
            plan_.steps,
            plan_.guidance,
            generate_device()));
    for (const lora::Adapter& adapter : loras_.loaded.adapters) {
      tell(
          events_.log,
          fmt::format(
              "LoRA {} ({}): {} layer(s) at run time, scale {}",
              adapter.path.filename().string(),
              adapter.dialect,
              adapter.updates.size(),
              adapter.scale));
    }
  }

  void check_stop() const {
    if (events_.stop != nullptr && events_.stop->load())
      fail(ErrorKind::interrupted, "interrupted");
  }

  pipelines::Request request() const {
    pipelines::Request request{
        .prompt = options_.prompt,
        .negative_prompt = options_.negative_prompt,
        .height = plan_.height,
        .width = plan_.width,
        .guidance = plan_.guidance};
    for (const Picture& given : inputs_.references) {
      const mx::array picture = to_array(given);
      // FLUX.1 looks at pictures of the size it draws; Qwen-Image-Edit resizes them itself.
      request.references.push_back(plan_.family == "flux" ? fitted(picture) : picture);
    }
    if (inputs_.mask) request.mask = read_mask();
    return request;
  }

  mx::array fitted(const mx::array& picture) const {
    return pipelines::resample(picture, plan_.height, plan_.width, pipelines::Filter::lanczos);
  }

  mx::array read_mask() const {
    const mx::array gray = mx::mean(fitted(to_array(*inputs_.mask)), -1);
    return mx::astype(mx::greater(gray, mx::array(0.0F)), mx::float32);
  }

  std::optional<mx::array> encode_image() const {
    if (!inputs_.image) return std::nullopt;
    return pipeline_->encode(fitted(to_array(*inputs_.image)));
  }

  mx::array noise(uint64_t seed) const {
    const int tokens = plan_.height / kPixelsPerToken * (plan_.width / kPixelsPerToken);
    return mx::random::normal({1, tokens, kTokenValues}, mx::float32, mx::random::key(seed));
  }

  mx::array denoise(
      size_t index, const std::optional<mx::array>& begin, const Condition& condition) {
    const std::vector<float>& sigmas = plan_.sigmas;
    mx::array latents = noise(options_.seeds[index]);
    int first = 0;
    if (begin) {
      first = first_step(plan_.steps, options_.image_strength);
      const float sigma = sigmas[static_cast<size_t>(first)];
      latents = mx::add(
          mx::multiply(*begin, mx::array(1 - sigma)), mx::multiply(latents, mx::array(sigma)));
    }
    nn::Solver solver(solver_kind_);
    const auto start = Clock::now();
    for (int step = first; step < plan_.steps; ++step) {
      check_stop();
      const auto at = static_cast<size_t>(step);
      latents =
          solver.step(latents, sigmas[at], sigmas[at + 1], [&](const mx::array& x, float sigma) {
            return pipeline_->predict(x, sigma, condition);
          });
      mx::eval(latents);
      if (!is_finite(latents)) refuse_non_finite(step);
      report(index, step + 1, first, start, latents);
    }
    return latents;
  }

  [[noreturn]] void refuse_non_finite(int step) const {
    fail(
        "{}: step {} of {} gave infinite or NaN latents. A weight or a LoRA is damaged, or a "
        "LoRA's "
        "scale is far too large (mflux compare and mflux inspect show which)",
        options_.model,
        step + 1,
        plan_.steps);
  }

  void report(
      size_t index, int done, int first, Clock::time_point start, const mx::array& latents) {
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    const GenerateProgress progress{
        .step = done,
        .steps = plan_.steps,
        .picture = index,
        .seconds_per_step = seconds / (done - first)};
    tell(events_.progress, progress);
    if (events_.preview) events_.preview(progress, decode(latents));
  }

  Picture decode(const mx::array& latents) {
    const mx::array image = pipeline_->decode(latents, plan_.height, plan_.width);
    if (!is_finite(image)) {
      fail("{}: the VAE gave infinite or NaN pixels; its weights are damaged", options_.model);
    }
    return to_picture(image);
  }

  void finish(size_t index, const mx::array& latents) {
    check_stop();
    pictures_.push_back({options_.seeds[index], decode(latents)});
    tell(events_.picture, pictures_.back());
  }

  Checkpoint model_;
  GenerateOptions options_;
  const GenerateEvents& events_;
  InputPictures inputs_;
  RuntimeLoras loras_;
  std::unique_ptr<Pipeline> pipeline_;
  GeneratePlan plan_ = {};
  nn::SolverKind solver_kind_ = nn::SolverKind::euler;
  std::vector<GeneratedPicture> pictures_ = {};
};

}  // namespace

GeneratePlan plan_generate(const GenerateOptions& options) {
  check_limits(options);
  const GenerateEvents events;
  return Generator(options, events).plan();
}

Generated generate(const GenerateOptions& options, const GenerateEvents& events) {
  check_limits(options);
  return Generator(options, events).run();
}

std::string generate_device() {
  if (mx::default_device() == mx::Device::cpu) return "CPU";
  return mx::metal::is_available() ? "Metal" : "NVIDIA GPU";
}

}  // namespace mflux
