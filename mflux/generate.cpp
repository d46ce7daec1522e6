// SPDX-License-Identifier: MIT
// In this order: headers and pictures are read, all is settled, LoRAs that cannot run beside their
// layers are baked in memory, the first picture and the prompt are encoded, each seed's noise is
// denoised, and latents become a picture. The pipeline loads a network when it is first asked of
// it.
#include "mflux/generate.h"

#include <chrono>
#include <memory>
#include <utility>

#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/checkpoint/checkpoint.h"
#include "mflux/generate/denoise.h"
#include "mflux/generate/runtime_loras.h"
#include "mflux/generate/settle.h"
#include "mflux/hub/hub.h"
#include "mflux/pipelines/pipeline.h"
#include "mflux/pipelines/registry.h"
#include "mflux/pipelines/resample.h"

namespace mflux {
namespace {

using Clock = std::chrono::steady_clock;
using pipelines::Condition;
using pipelines::Pipeline;

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

template <typename Callback, typename... Args>
void tell(const Callback& callback, const Args&... args) {
  if (callback) callback(args...);
}

void check_stop(const GenerateEvents& events) {
  if (events.stop != nullptr && events.stop->load()) fail(ErrorKind::interrupted, "interrupted");
}

// A model that is open. The pipeline points into it and into its LoRAs, so it stays where it is.
struct Session {
  Session(const GenerateOptions& asked, const GenerateEvents& events)
      : model(open_checkpoint(hub::resolve_model(asked.model), asked.base_model)),
        facts(pipelines::picture_facts(*model.family)),
        options(for_model(asked, facts)),
        inputs(read_pictures(options)),
        loras(load_runtime_loras(model, asked)),
        pipeline(pipelines::make_pipeline(
            model,
            {.load =
                 {.quantize = load_format(options, model),
                  .changes = &loras.changes,
                  .products = products(options)},
             .low_memory = options.low_memory,
             .vae_tile = options.vae_tile,
             .on_load =
                 [&events](std::string_view component) {
                   check_stop(events);
                   tell(events.log, fmt::format("Loading {}...", component));
                 }})),
        plan(settle(options, inputs, model, facts, pipeline->defaults())),
        solver(solver_kind(options)) {}
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Checkpoint model;
  pipelines::PictureFacts facts;
  GenerateOptions options;
  InputPictures inputs;
  RuntimeLoras loras;
  std::unique_ptr<Pipeline> pipeline;
  GeneratePlan plan;
  nn::SolverKind solver;
};

void describe(const Session& session, const GenerateEvents& events) {
  for (const std::string& note : session.loras.loaded.notes) tell(events.note, note);
  const GeneratePlan& plan = session.plan;
  tell(events.plan, plan);
  tell(
      events.log,
      fmt::format(
          "{}: {} x {}, {} steps, guidance {}, on {}",
          plan.title,
          plan.width,
          plan.height,
          plan.steps,
          plan.guidance,
          generate_device()));
  for (const lora::Adapter& adapter : session.loras.loaded.adapters) {
    tell(
        events.log,
        fmt::format(
            "LoRA {} ({}): {} layer(s) at run time, scale {}",
            adapter.path.filename().string(),
            adapter.dialect,
            adapter.updates.size(),
            adapter.scale));
  }
}

// In the size that is drawn.
mx::array fitted(const mx::array& picture, const GeneratePlan& plan) {
  return pipelines::resample(picture, plan.height, plan.width, pipelines::Filter::lanczos);
}

pipelines::Request request_of(const Session& session) {
  const GeneratePlan& plan = session.plan;
  pipelines::Request request{
      .prompt = session.options.prompt,
      .negative_prompt = session.options.negative_prompt,
      .height = plan.height,
      .width = plan.width,
      .guidance = plan.guidance};
  for (const Picture& given : session.inputs.references) {
    const mx::array picture = to_array(given);
    request.references.push_back(
        session.facts.takes_fitted_references ? fitted(picture, plan) : picture);
  }
  if (session.inputs.mask) {
    const mx::array gray = mx::mean(fitted(to_array(*session.inputs.mask), plan), -1);
    request.mask = mx::astype(mx::greater(gray, mx::array(0.0F)), mx::float32);
  }
  return request;
}

std::optional<mx::array> encode_image(const Session& session) {
  if (!session.inputs.image) return std::nullopt;
  return session.pipeline->encode(fitted(to_array(*session.inputs.image), session.plan));
}

mx::array noise(const Session& session, uint64_t seed) {
  const int tokens = picture_tokens(session.plan, session.facts);
  return mx::random::normal(
      {1, tokens, session.facts.token_values}, mx::float32, mx::random::key(seed));
}

Picture decode(const Session& session, const mx::array& latents) {
  const mx::array image =
      session.pipeline->decode(latents, session.plan.height, session.plan.width);
  if (!is_finite(image)) {
    fail("{}: the VAE gave infinite or NaN pixels; its weights are damaged", session.options.model);
  }
  return to_picture(image);
}

// The latents of the picture with the seed of this index. `begin`: those of the first picture.
mx::array draw(
    const Session& session,
    size_t index,
    const std::optional<mx::array>& begin,
    const Condition& condition,
    const GenerateEvents& events) {
  const GeneratePlan& plan = session.plan;
  mx::array latents = noise(session, session.options.seeds[index]);
  int first = 0;
  if (begin) {
    first = first_step(plan.steps, session.options.image_strength);
    latents = noised(*begin, latents, plan.sigmas[static_cast<size_t>(first)]);
  }
  const auto start = Clock::now();
  return denoise(
      {.sigmas = plan.sigmas,
       .first = first,
       .solver = session.solver,
       .name = session.options.model},
      latents,
      [&](const mx::array& x, float sigma) {
        check_stop(events);
        return session.pipeline->predict(x, sigma, condition);
      },
      [&](int done, const mx::array& now) {
        const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
        const GenerateProgress progress{
            .step = done,
            .steps = plan.steps,
            .picture = index,
            .seconds_per_step = seconds / (done - first)};
        tell(events.progress, progress);
        if (events.preview) events.preview(progress, decode(session, now));
      });
}

std::vector<GeneratedPicture> draw_all(
    const Session& session,
    const std::optional<mx::array>& begin,
    const Condition& condition,
    const GenerateEvents& events) {
  const std::vector<uint64_t>& seeds = session.options.seeds;
  std::vector<GeneratedPicture> pictures;
  const auto finish = [&](size_t index, const mx::array& latents) {
    check_stop(events);
    pictures.push_back({seeds[index], decode(session, latents)});
    tell(events.picture, pictures.back());
  };
  std::vector<mx::array> waiting;  // where memory is short, until the transformer is gone
  for (size_t i = 0; i < seeds.size(); ++i) {
    const mx::array latents = draw(session, i, begin, condition, events);
    if (session.options.low_memory) {
      waiting.push_back(latents);
    } else {
      finish(i, latents);
    }
  }
  if (session.options.low_memory) session.pipeline->drop_transformer();
  for (size_t i = 0; i < waiting.size(); ++i) finish(i, waiting[i]);
  return pictures;
}

}  // namespace

GeneratePlan plan_generate(const GenerateOptions& options) {
  check_limits(options);
  return Session(options, {}).plan;
}

Generated generate(const GenerateOptions& options, const GenerateEvents& events) {
  check_limits(options);
  Session session(options, events);
  describe(session, events);
  bake_in_memory(session.model, session.loras, events.stop);
  const std::optional<mx::array> begin = encode_image(session);
  const Condition condition = session.pipeline->condition(request_of(session));
  for (const std::string& note : condition.notes) tell(events.note, note);
  mx::clear_cache();
  std::vector<GeneratedPicture> pictures = draw_all(session, begin, condition, events);
  return {std::move(session.plan), std::move(pictures)};
}

std::string generate_device() {
  if (mx::default_device() == mx::Device::cpu) return "CPU";
  return mx::metal::is_available() ? "Metal" : "NVIDIA GPU";
}

}  // namespace mflux
