// SPDX-License-Identifier: MIT
// What people give as a LoRA, through the program: read, or answered with one sentence and the
// right status, and inspect says the same.
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mflux/safetensors/folder.h"
#include "tests/program.h"
#include "tests/tiny_save.h"

namespace mflux::testing {
namespace {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;
using Json = nlohmann::json;

std::vector<TestTensor> tensors_of(const fs::path& path) {
  std::vector<TestTensor> tensors;
  const safetensors::TensorFolder folder =
      fs::is_directory(path) ? safetensors::open_folder(path) : safetensors::open_file(path);
  for (const safetensors::StoredTensor& stored : folder.tensors) {
    TestTensor& tensor = tensors.emplace_back(TestTensor{stored.info.name, stored.info.spec, {}});
    tensor.data.resize(stored.info.bytes);
    folder.files[stored.file].file.read(stored.info.offset, tensor.data);
  }
  return tensors;
}

// The folder's tensors in one file, under other names.
void write_renamed(const fs::path& from, const fs::path& to, const std::string& prefix) {
  std::vector<TestTensor> tensors = tensors_of(from);
  for (TestTensor& tensor : tensors) tensor.name = prefix + tensor.name;
  write_safetensors(to, tensors);
}

Arguments save_with(const TinySave& tiny, const Arguments& lora, std::string_view out = "out") {
  return Arguments{"save", "--model", tiny.path("model"), "--path", tiny.path(out), "-q", "8"} +
         (Arguments{"--lora"} + lora);
}

std::string last_line(const std::string& text) {
  const size_t end = text.rfind('\n', text.size() - 2);
  return text.substr(end == std::string::npos ? 0 : end + 1);
}

void check_refused(
    const TinySave& tiny, const Arguments& lora, int status, const std::string& part) {
  const ProgramRun run = run_program(save_with(tiny, lora));
  CAPTURE(run.err);
  CHECK(run.status == status);
  CHECK(contains(last_line(run.err), "mflux: error: "));
  CHECK(contains(last_line(run.err), part));
  CHECK_FALSE(fs::exists(tiny.path("out")));
}

TEST_CASE("a file that is none of safetensors is told as what it is, with status 1") {
  const TinySave tiny;
  const std::string good = read_file(tiny.path("lora.safetensors"));
  const struct {
    std::string name;
    std::string bytes;
    std::string part;
  } kCases[] = {
      {"lora.bin", "PK\x03\x04 a zip that torch.save wrote", "PyTorch (pickle) file"},
      {"lora.pt", "\x80\x02}q\x01(X\x05 an older one", "PyTorch (pickle) file"},
      {"page.safetensors", "<!DOCTYPE html><html><title>Sign in</title></html>", "web page"},
      {"adapter_config.json", R"({"peft_type": "LORA", "r": 16})", "JSON"},
      {"pointer.safetensors",
       "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
       "Git LFS pointer"},
      {"x.gguf", "GGUF\x03 and so on and so on", "GGUF"},
      {"empty.safetensors", "", "It is empty"},
      {"header.safetensors", good.substr(0, 500), "cut off inside its header"},
      {"data.safetensors", good.substr(0, good.size() - 100), "incomplete download"},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.name);
    write_file(tiny.folder / c.name, c.bytes);
    check_refused(tiny, {tiny.path(c.name)}, 1, c.part);
    const ProgramRun inspected = run_program({"inspect", tiny.path(c.name)});
    CHECK(inspected.status == 1);
    CHECK(contains(inspected.err, c.part));
  }
}

TEST_CASE("tensors that are no LoRA are refused with status 3, and inspect agrees") {
  const TinySave tiny;
  const fs::path model = tiny.folder / "model";
  write_renamed(model / "vae", tiny.folder / "vae.safetensors", "");
  write_renamed(model / "text_encoder", tiny.folder / "clip.safetensors", "");
  write_renamed(model / "text_encoder_2", tiny.folder / "t5.safetensors", "");
  write_renamed(model / "transformer", tiny.folder / "flux.safetensors", "");
  write_renamed(model / "transformer", tiny.folder / "comfy.safetensors", "model.diffusion_model.");
  write_safetensors(tiny.folder / "style.safetensors", {f32_tensor("emb_params", {1, 2}, {1, 2})});
  const std::pair<std::string, std::string> kCases[] = {
      {"vae.safetensors", "is not a LoRA but a VAE"},
      {"clip.safetensors", "is not a LoRA but a text encoder"},
      {"t5.safetensors", "is not a LoRA but a text encoder"},
      {"flux.safetensors", "is not a LoRA but a whole model"},
      {"comfy.safetensors", "is not a LoRA but a whole model"},
      {"style.safetensors", "is not a LoRA but a textual inversion"},
  };
  for (const auto& [name, part] : kCases) {
    CAPTURE(name);
    check_refused(tiny, {tiny.path(name)}, 3, part);
    const ProgramRun tried =
        run_program({"inspect", tiny.path(name), "--model", tiny.path("model")});
    CHECK(tried.status == 0);
    CHECK(contains(tried.out, "NOT OK: " + part));
  }
  check_refused(tiny, {model.string()}, 3, "is a model's folder, not a LoRA");
  const std::string shard = "transformer/diffusion_pytorch_model-00001-of-00002.safetensors";
  check_refused(tiny, {(model / shard).string()}, 3, "is shard 1 of 2");
}

TEST_CASE("what is no file's name is wrong usage") {
  const TinySave tiny;
  const std::string lora = tiny.path("lora.safetensors");
  check_refused(tiny, {"https://example.com/lora.safetensors"}, 2, "is a URL");
  check_refused(tiny, {lora + ":0.8"}, 2, "--lora-scale 0.8");
  check_refused(tiny, {lora, "0,8"}, 2, "'0,8' is not a number; write 0.8");
  check_refused(tiny, {lora, "1", "2"}, 2, "has the scale 1 already, and then comes 2");
  check_refused(tiny, {lora, "1", lora, "2", "3"}, 2, "has the scale 2 already");
  check_refused(tiny, {"0.5", lora}, 2, "the scale 0.5 comes before any file");
  for (const Arguments& command :
       {save_with(tiny, {lora, "--lora-scale", "0,8"}),
        Arguments{"inspect", lora, "--lora-scale", "-1,5"}}) {
    const ProgramRun run = run_program(command);
    CHECK(run.status == 2);
    CHECK_MESSAGE(contains(run.err, "is not a number; write "), run.err);
  }
}

// Every second tensor of the tiny LoRA in each of two files, with an index.
void write_shards(const TinySave& tiny, const fs::path& folder) {
  const std::vector<std::string> names = {
      "x-00001-of-00002.safetensors", "x-00002-of-00002.safetensors"};
  std::vector<std::vector<TestTensor>> shards(2);
  Json map = Json::object();
  for (TestTensor& tensor : tensors_of(tiny.path("lora.safetensors"))) {
    const size_t shard = map.size() % 2;
    map[tensor.name] = names[shard];
    shards[shard].push_back(std::move(tensor));
  }
  fs::create_directories(folder);
  for (size_t i = 0; i < 2; ++i) write_safetensors(folder / names[i], shards[i]);
  const Json index = {{"metadata", Json::object()}, {"weight_map", map}};
  write_file(folder / "x.safetensors.index.json", index.dump());
}

TEST_CASE("a sharded LoRA is baked as if it were one file, and proved from all its shards") {
  const TinySave tiny;
  const fs::path folder = tiny.folder / "sharded";
  write_shards(tiny, folder);
  REQUIRE(run_program(save_with(tiny, {tiny.path("lora.safetensors")}, "whole")).status == 0);
  REQUIRE(run_program(save_with(tiny, {folder.string()})).status == 0);
  const std::string shard = "transformer/0.safetensors";
  const bool same =
      read_file(tiny.folder / "whole" / shard) == read_file(tiny.folder / "out" / shard);
  CHECK(same);
  const Json receipt = Json::parse(read_file(tiny.folder / "out/bake.json"));
  CHECK(receipt["loras"][0]["file"] == "x-00001-of-00002.safetensors");
  REQUIRE(receipt["loras"][0]["more_files"].size() == 1);
  CHECK(receipt["loras"][0]["more_files"][0]["file"] == "x-00002-of-00002.safetensors");
  const Arguments verify = {
      "verify", tiny.path("out"), "--base", tiny.path("model"), "--lora", folder.string()};
  CHECK(run_program(verify).status == 0);
  CHECK(contains(run_program({"inspect", folder.string()}).out, "OK: fits FLUX.1"));

  fs::remove(folder / "x.safetensors.index.json");  // the names tell as well
  CHECK(run_program(verify).status == 0);
  write_renamed(tiny.path("lora.safetensors"), folder / "x-00002-of-00002.safetensors", "other.");
  const ProgramRun changed = run_program(verify);
  CHECK(changed.status == 4);
  CHECK(contains(changed.out + changed.err, "x-00002-of-00002.safetensors"));
  fs::remove(folder / "x-00002-of-00002.safetensors");
  const ProgramRun missing = run_program(save_with(tiny, {folder.string()}, "missing"));
  CHECK(missing.status == 3);
  CHECK(contains(missing.err, "shard 2 of 2 of this sharded LoRA is not there"));
  const ProgramRun inspected = run_program({"inspect", folder.string()});
  CHECK(inspected.status == 3);
  CHECK(contains(inspected.err, "shard 2 of 2 of this sharded LoRA is not there"));
}

TEST_CASE("a transformer saved from a compiled or parallel module is the same model") {
  const TinySave tiny;
  REQUIRE(run_program(tiny.arguments("plain")).status == 0);
  const fs::path transformer = tiny.folder / "model/transformer";
  const fs::path stored = tiny.folder / "stored";
  fs::rename(transformer, stored);
  for (const std::string prefix : {"_orig_mod.", "module.", "module._orig_mod."}) {
    CAPTURE(prefix);
    fs::remove_all(transformer);
    fs::create_directories(transformer);
    fs::copy_file(stored / "config.json", transformer / "config.json");
    write_renamed(stored, transformer / "diffusion_pytorch_model.safetensors", prefix);
    Arguments arguments = tiny.arguments("wrapped");
    arguments.emplace_back("--overwrite");
    const ProgramRun run = run_program(arguments);
    CHECK_MESSAGE(run.status == 0, run.err);
    const ProgramRun compared =
        run_program({"compare", tiny.path("plain"), tiny.path("wrapped"), "--json"});
    CHECK_MESSAGE(compared.status == 0, compared.out);
    write_renamed(stored, tiny.folder / "single.safetensors", prefix);
    const ProgramRun single = run_program({"inspect", tiny.path("single.safetensors")});
    CHECK(contains(single.out, "FLUX.1"));
  }
}

}  // namespace
}  // namespace mflux::testing
