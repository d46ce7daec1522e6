// SPDX-License-Identifier: MIT
#include "tests/cli/docs_provoked.h"

#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/cli/markdown.h"
#include "tests/folders.h"
#include "tests/process.h"
#include "tests/tiny_save.h"

namespace mflux::testing {
namespace fs = std::filesystem;
using Words = std::vector<std::string>;

// A folder with `model` (a FLUX.1) and `lora.safetensors` for it; saves go to `OUT`.
struct Scene {
  TinySave tiny = TinySave();
  fs::path folder = tiny.folder.path();
  fs::path demo = source_folder() / "examples/demo/flux";

  ProgramRun run(const Words& arguments, const std::string& program = MFLUX_PROGRAM) const {
    return run_program(ProgramCall{
        .arguments = arguments,
        .program = {fs::absolute(program).string()},
        .folder = folder,
        .environment = {{"HF_HOME", (folder / "huggingface").string()}, {"HF_HUB_CACHE", ""}}});
  }
  ProgramRun save_of(const std::string& model, const Words& more = {}) const {
    return run(Words{"save", "--model", model, "--path", "OUT"} + more);
  }
  ProgramRun save(const Words& more = {}) const { return save_of("model", more); }
  ProgramRun save_lora(const std::string& lora) const { return save({"--lora", lora}); }

  // What is given as a model or LoRA, with what a file begins with.
  ProgramRun save_file(const std::string& name, std::string bytes) const {
    bytes.resize(64, 'x');
    write_file(folder / name, bytes);
    return save_of(name);
  }

  // A bake onto 4 bits of a LoRA that is far too weak for them.
  ProgramRun save_weak(const Words& more = {}) const {
    REQUIRE(run({"save", "--model", "model", "--path", "packed", "-q", "4"}).status == 0);
    return save_of(
        "packed", Words{"--lora", "lora.safetensors", "0.01", "--rounding", "nearest"} + more);
  }

  // OUT with the LoRA in it.
  void bake() const { REQUIRE(save({"-q", "8", "--lora", "lora.safetensors"}).status == 0); }
  ProgramRun verify_with(const Words& lora) const {
    return run(Words{"verify", "OUT", "--base", "model", "--lora"} + lora);
  }

  ProgramRun draw(const std::string& model, const Words& more = {}) const {
    return run(
        Words{
            "generate",
            "--model",
            model,
            "--prompt",
            "a fox",
            "--steps",
            "2",
            "--output",
            "p.png"} +
        more);
  }
  ProgramRun draw_small(const std::string& model, const Words& more = {}) const {
    return draw(model, Words{"--height", "64", "--width", "64"} + more);
  }
};

namespace {

constexpr const char* kShard =
    "model/transformer/diffusion_pytorch_model-00001-of-00002.safetensors";

// ---- docs/troubleshooting.md, "The model"

ProgramRun not_in_cache(const Scene& scene) {
  return scene.save_of("dev");
}
ProgramRun unknown_name(const Scene& scene) {
  return scene.save_of("nope");
}
ProgramRun other_folder(const Scene& scene) {
  fs::create_directory(scene.folder / "empty");
  return scene.save_of("empty");
}
ProgramRun missing_shard(const Scene& scene) {
  fs::remove(scene.folder / kShard);
  return scene.save();
}
ProgramRun cut_shard(const Scene& scene) {
  fs::resize_file(scene.folder / kShard, fs::file_size(scene.folder / kShard) - 1);
  return scene.save();
}
ProgramRun gguf(const Scene& scene) {
  return scene.save_file("flux1-dev-Q8_0.gguf", "GGUF\3");
}
ProgramRun pickle(const Scene& scene) {
  return scene.save_file("flux.ckpt", "PK\3\4");
}
ProgramRun lora_as_model(const Scene& scene) {
  return scene.save_of("lora.safetensors");
}
ProgramRun other_family(const Scene& scene) {
  const fs::path link = scene.folder / "mflux-save-qwen";
  fs::create_symlink(fs::absolute(MFLUX_PROGRAM), link);
  return scene.run({"--model", "model", "--path", "OUT"}, link.string());
}

// ---- "A LoRA"

ProgramRun no_lora(const Scene& scene) {
  return scene.save_lora("none.safetensors");
}
ProgramRun several_loras(const Scene& scene) {
  fs::create_directory(scene.folder / "two");
  for (const char* name : {"a.safetensors", "b.safetensors"})
    fs::copy_file(scene.folder / "lora.safetensors", scene.folder / "two" / name);
  return scene.save_lora("two");
}
ProgramRun lora_for_qwen(const Scene& scene) {
  write_tiny_lora(
      scene.folder / "qwen.safetensors", TinyFamily::qwen, TinyLora::peft, TinySave::kSize);
  return scene.save_lora("qwen.safetensors");
}
ProgramRun misfit(const Scene& scene) {
  write_tiny_lora(
      scene.folder / "misfit.safetensors", TinyFamily::flux, TinyLora::misfit, TinySave::kSize);
  return scene.save_lora("misfit.safetensors");
}
ProgramRun lora_with_nan(const Scene& scene) {
  const std::string module = "transformer.transformer_blocks.0.attn.to_q";
  const float nan = std::numeric_limits<float>::quiet_NaN();
  write_safetensors(
      scene.folder / "nan.safetensors",
      {f32_tensor(module + ".lora_A.weight", {1, 64}, std::vector<float>(64, nan)),
       f32_tensor(module + ".lora_B.weight", {64, 1}, std::vector<float>(64, 1))});
  return scene.save_lora("nan.safetensors");
}
ProgramRun weak_lora(const Scene& scene) {
  return scene.save_weak();
}
ProgramRun too_weak_lora(const Scene& scene) {
  return scene.save_weak({"--min-kept", "0.9"});
}
ProgramRun more_scales(const Scene& scene) {
  return scene.save({"--lora", "lora.safetensors", "--lora-scale", "1", "2"});
}
ProgramRun scale_first(const Scene& scene) {
  return scene.save({"--lora", "0.8", "lora.safetensors"});
}

// ---- "The output"

ProgramRun save_over(const Scene& scene, const std::string& file, const Words& more) {
  fs::create_directory(scene.folder / "OUT");
  write_file(scene.folder / "OUT" / file, "{}");
  return scene.save(more);
}
ProgramRun full_folder(const Scene& scene) {
  return save_over(scene, "mine.txt", {});
}
ProgramRun unfinished_folder(const Scene& scene) {
  return save_over(scene, ".mflux-save.json", {});
}
ProgramRun overwritten_folder(const Scene& scene) {
  return save_over(scene, "mine.txt", {"--overwrite"});
}
ProgramRun full_disk(const Scene& scene) {  // the one that is always full
  return scene.run({"save", "--model", "model", "--path", "/proc/OUT"});
}
ProgramRun seven_bits(const Scene& scene) {
  return scene.save({"-q", "7"});
}
ProgramRun packed_comfyui(const Scene& scene) {
  return scene.save({"-q", "8", "--layout", "comfyui"});
}
ProgramRun damaged_output(const Scene& scene) {
  scene.bake();
  const fs::path shard = scene.folder / "OUT/transformer/0.safetensors";
  flip_byte(shard, fs::file_size(shard) - 1);
  return scene.run({"verify", "OUT"});
}
ProgramRun output_without_index(const Scene& scene) {
  scene.bake();
  fs::remove(scene.folder / "OUT/transformer/model.safetensors.index.json");
  return scene.run({"verify", "OUT"});
}
ProgramRun other_scale(const Scene& scene) {
  scene.bake();
  return scene.verify_with({"lora.safetensors", "0.5"});
}

// ---- "A picture"

ProgramRun transformer_alone(const Scene& scene) {
  fs::create_directory(scene.folder / "part");
  fs::copy(scene.demo / "transformer", scene.folder / "part/transformer");
  return scene.draw_small("part");
}
ProgramRun transformer_file(const Scene& scene) {
  const ProgramRun saved = scene.save_of(scene.demo.string(), {"--layout", "comfyui"});
  REQUIRE_MESSAGE(saved.status == 0, saved.err);
  return scene.draw_small("OUT/model.safetensors");
}
ProgramRun without_tokenizer(const Scene& scene) {
  fs::copy(scene.demo, scene.folder / "mute", fs::copy_options::recursive);
  for (const auto& file : fs::directory_iterator(scene.folder / "mute/tokenizer"))
    fs::remove(file.path());
  return scene.draw_small("mute");
}
ProgramRun odd_height(const Scene& scene) {
  return scene.draw(scene.demo.string(), {"--height", "1000"});
}
ProgramRun far_too_strong(const Scene& scene) {
  const fs::path ink = scene.demo.parent_path() / "ink.safetensors";
  return scene.draw_small(scene.demo.string(), {"--lora", ink.string(), "1e30"});
}
ProgramRun bfloat16(const Scene& scene) {
  return scene.draw_small(scene.demo.string(), {"--cpu-precision", "bfloat16"});
}

constexpr Provoked kProvoked[] = {
    {"is not in the Hugging Face cache", 1, not_in_cache},
    {"nope: no such file or folder", 1, unknown_name},
    {"expected a model folder", 1, other_folder},
    {"which is not there", 1, missing_shard},
    {"ends at data byte", 1, cut_shard},
    {"GGUF", 1, gguf},
    {"pickle", 1, pickle},
    {"looks like a LoRA; give it", 1, lora_as_model},
    {"the command is for Qwen-Image", 2, other_family},
    {"LoRA file not found", 1, no_lora},
    {"holds several files", 1, several_loras},
    {"this looks like a LoRA for Qwen-Image", 3, lora_for_qwen},
    {"block 99 does not exist", 3, misfit},
    {"Cannot merge", 3, misfit},
    {"values that are not finite", 3, lora_with_nan},
    {"Warning: F: only", 0, weak_lora},
    {"--min-kept asks", 3, too_weak_lora},
    {"1 LoRA(s) but 2 scale(s)", 2, more_scales},
    {"comes before any file", 2, scale_first},
    {"the folder is not empty", 2, full_folder},
    {"holds an unfinished save", 2, unfinished_folder},
    {"--overwrite replaces", 2, overwritten_folder},
#if defined(__linux__)
    {"not enough space", 1, full_disk},
#endif
    {"cannot quantize to 7 bits", 2, seven_bits},
    {"--layout comfyui cannot hold", 2, packed_comfyui},
    {"FAILED  files and hashes", 4, damaged_output},
    {"no index", 4, output_without_index},
    {"FAILED  LoRAs", 4, other_scale},
    {"FAILED  second bake", 4, other_scale},
    {"has no component 'text_encoder'", 1, transformer_alone, true},
    {"one file holds the transformer alone", 1, transformer_file, true},
    {"no tokenizer here", 1, without_tokenizer, true},
    {"must be a multiple of 16", 2, odd_height, true},
    {"infinite or NaN latents", 1, far_too_strong, true},
    {"--cpu-precision bfloat16", 2, bfloat16, true},
};

}  // namespace

std::span<const Provoked> provoked_messages() {
  return kProvoked;
}

ProgramRun provoke(const Provoked& message) {
  return message.provoke(Scene());
}

}  // namespace mflux::testing
