// SPDX-License-Identifier: MIT
#include "tests/cli/docs_provoked.h"

#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/base/folder_lock.h"
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
ProgramRun without_vae(const Scene& scene) {
  fs::remove_all(scene.folder / "model/vae");
  return scene.save();
}
ProgramRun other_depth(const Scene& scene) {
  replace_in(
      scene.folder / "model/transformer/config.json", "\"num_layers\": 1", "\"num_layers\": 2");
  return scene.save();
}
ProgramRun shard_as_model(const Scene& scene) {
  return scene.save_of(kShard);
}
ProgramRun scaled_fp8(const Scene& scene) {
  write_safetensors(scene.folder / "fp8.safetensors", {f32_tensor("x.scale_weight", {1}, {1})});
  return scene.save_of("fp8.safetensors");
}
ProgramRun lost_snapshot(const Scene& scene) {
  const fs::path refs = scene.folder / "huggingface/hub/models--black-forest-labs--FLUX.1-dev/refs";
  fs::create_directories(refs);
  write_file(refs / "main", "0123abc");
  return scene.save_of("dev");
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

const std::string kLayer = "transformer.transformer_blocks.0.attn.to_q";

ProgramRun no_lora(const Scene& scene) {
  return scene.save_lora("none.safetensors");
}
ProgramRun lora_by_url(const Scene& scene) {
  return scene.save_lora("https://example.com/lora.safetensors");
}
ProgramRun scale_in_name(const Scene& scene) {
  return scene.save_lora("lora.safetensors:0.8");
}
ProgramRun scale_with_comma(const Scene& scene) {
  return scene.save({"--lora", "lora.safetensors", "0,8"});
}
ProgramRun web_page(const Scene& scene) {
  write_file(scene.folder / "page.safetensors", "<!DOCTYPE html><html>Sign in</html>");
  return scene.save_lora("page.safetensors");
}
ProgramRun vae_as_lora(const Scene& scene) {
  return scene.save_lora((scene.demo / "vae/diffusion_pytorch_model.safetensors").string());
}
ProgramRun one_shard(const Scene& scene, const std::string& given) {
  fs::create_directory(scene.folder / "sharded");
  fs::copy_file(
      scene.folder / "lora.safetensors", scene.folder / "sharded/style-00001-of-00002.safetensors");
  return scene.save_lora(given);
}
ProgramRun lora_shard(const Scene& scene) {
  return one_shard(scene, "sharded/style-00001-of-00002.safetensors");
}
ProgramRun missing_lora_shard(const Scene& scene) {
  return one_shard(scene, "sharded");
}
ProgramRun two_adapters(const Scene& scene) {
  std::vector<TestTensor> tensors;
  const std::vector<float> ones(64, 1);
  for (const std::string adapter : {"one", "two"}) {
    tensors.push_back(f32_tensor(kLayer + ".lora_A." + adapter + ".weight", {1, 64}, ones));
    tensors.push_back(f32_tensor(kLayer + ".lora_B." + adapter + ".weight", {64, 1}, ones));
  }
  write_safetensors(scene.folder / "two.safetensors", tensors);
  return scene.save_lora("two.safetensors");
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
  const float nan = std::numeric_limits<float>::quiet_NaN();
  write_safetensors(
      scene.folder / "nan.safetensors",
      {f32_tensor(kLayer + ".lora_A.weight", {1, 64}, std::vector<float>(64, nan)),
       f32_tensor(kLayer + ".lora_B.weight", {64, 1}, std::vector<float>(64, 1))});
  return scene.save_lora("nan.safetensors");
}
ProgramRun weak_lora(const Scene& scene) {
  return scene.save_weak();
}
ProgramRun too_weak_lora(const Scene& scene) {
  return scene.save_weak({"--min-kept", "0.9"});
}
ProgramRun lora_in_noise(const Scene& scene) {
  const std::string ink = (scene.demo.parent_path() / "ink.safetensors").string();
  return scene.save_of(
      scene.demo.string(), {"-q", "4", "--lora", ink, "1e-5", "--rounding", "nearest"});
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
ProgramRun second_save(const Scene& scene) {
  fs::create_directory(scene.folder / "OUT");
  const auto first = FolderLock::take(scene.folder / "OUT");
  REQUIRE(first);
  return scene.save();
}
ProgramRun overwritten_folder(const Scene& scene) {
  return save_over(scene, "mine.txt", {"--overwrite"});
}
#if defined(__linux__)
ProgramRun full_disk(const Scene& scene) {  // the one that is always full
  return scene.run({"save", "--model", "model", "--path", "/proc/OUT"});
}
#endif
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
ProgramRun output_without_tokenizer(const Scene& scene) {
  scene.bake();
  fs::remove_all(scene.folder / "OUT/tokenizer");
  return scene.run({"verify", "OUT"});
}
ProgramRun verified_part(const Scene& scene) {
  const ProgramRun saved = scene.save_of("model/transformer");
  REQUIRE_MESSAGE(saved.status == 0, saved.err);
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
ProgramRun heic_picture(const Scene& scene) {
  write_file(scene.folder / "fox.heic", std::string(4, '\0') + "ftypheic");
  return scene.draw_small(scene.demo.string(), {"--image", "fox.heic"});
}
ProgramRun latin_prompt(const Scene& scene) {
  write_file(scene.folder / "prompt.txt", "caf\xe9 at night");
  return scene.run(
      {"generate",
       "--model",
       scene.demo.string(),
       "--prompt-file",
       "prompt.txt",
       "--output",
       "p.png"});
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
    {"not a whole FLUX.1 model", 1, without_vae},
    {"transformer/config.json: num_layers", 1, other_depth},
    {"this is one shard of", 1, shard_as_model},
    {"shows scaled fp8", 1, scaled_fp8},
    {"names the snapshot", 1, lost_snapshot},
    {"which is not there", 1, missing_shard},
    {"ends at data byte", 1, cut_shard},
    {"GGUF", 1, gguf},
    {"pickle", 1, pickle},
    {"looks like a LoRA; give it", 1, lora_as_model},
    {"the command is for Qwen-Image", 2, other_family},
    {"LoRA file not found", 1, no_lora},
    {"is a URL", 2, lora_by_url},
    {"the scale is a separate argument", 2, scale_in_name},
    {"is not a number; write", 2, scale_with_comma},
    {"It is a web page", 1, web_page},
    {"is not a LoRA but a VAE", 3, vae_as_lora},
    {"which is not a LoRA without the others", 3, lora_shard},
    {"of this sharded LoRA is not there", 3, missing_lora_shard},
    {"holds 2 adapters", 3, two_adapters},
    {"holds several files", 1, several_loras},
    {"this looks like a LoRA for Qwen-Image", 3, lora_for_qwen},
    {"block 99 does not exist", 3, misfit},
    {"Cannot merge", 3, misfit},
    {"values that are not finite", 3, lora_with_nan},
    {"Warning: F: only", 0, weak_lora},
    {"--min-kept asks", 3, too_weak_lora},
    {"it is lost in the noise", 0, lora_in_noise},
    {"1 LoRA(s) but 2 scale(s)", 2, more_scales},
    {"comes before any file", 2, scale_first},
    {"the folder is not empty", 2, full_folder},
    {"holds an unfinished save", 2, unfinished_folder},
    {"another save is writing it", 1, second_save},
    {"--overwrite replaces", 2, overwritten_folder},
#if defined(__linux__)
    {"not enough space", 1, full_disk},
#endif
    {"cannot quantize to 7 bits", 2, seven_bits},
    {"--layout comfyui cannot hold", 2, packed_comfyui},
    {"FAILED  files and hashes", 4, damaged_output},
    {"no index", 4, output_without_index},
    {"FAILED  LoRAs", 4, other_scale},
    {"FAILED  model", 4, output_without_tokenizer},
    {"Verified as a part of a model", 0, verified_part},
    {"FAILED  second bake", 4, other_scale},
    {"has no component 'text_encoder'", 1, transformer_alone, true},
    {"one file holds the transformer alone", 1, transformer_file, true},
    {"no tokenizer here", 1, without_tokenizer, true},
    {"must be a multiple of 16", 2, odd_height, true},
    {"is a HEIC picture", 1, heic_picture, true},
    {"is not UTF-8", 1, latin_prompt, true},
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
