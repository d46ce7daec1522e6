// SPDX-License-Identifier: MIT
// Names and values of strangers, in every command: none reaches the terminal or a log as it is.
#include "mflux/base/printable.h"

#include <algorithm>
#include <filesystem>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mflux/base/utf8.h"
#include "tests/folders.h"
#include "tests/process.h"
#include "tests/tiny_save.h"

namespace mflux::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Words = std::vector<std::string>;

// A name that a file can have and a JSON string can hold.
const std::string kName =
    "a\x1b[2Jb\u009b31mc\u202ed\u2066e\u200b\u2028f\x7f\rg\th\a\nmflux: error: forged";

// Every line is printable and none is endless.
void check_clean(const std::string& text) {
  constexpr size_t kLongest = 20'000;
  CHECK(invalid_utf8(text) == std::string::npos);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    CHECK(printable(line, std::string::npos) == line);
    CHECK(line.size() < kLongest);
    CHECK_FALSE(line.starts_with("mflux: error: forged"));
    begin = end + 1;
  }
}

ProgramRun run_clean(const Words& arguments) {
  const ProgramRun run = run_program(ProgramCall{.arguments = arguments});
  CAPTURE(run.out);
  CAPTURE(run.err);
  check_clean(run.err);
  if (std::ranges::find(arguments, "--json") == arguments.end()) {
    check_clean(run.out);
    return run;
  }
  for (const std::string& line : run.lines()) {  // a value may be long, but is JSON
    CHECK(Json::accept(line));
    CHECK(printable(line, std::string::npos) == line);
  }
  return run;
}

constexpr size_t kMostInAName = 1000;  // bytes, of a tensor

Words hostile_names() {
  return {kName, std::string(1 << 20, 'n') + "\x1b"};
}

void write_lora(const fs::path& file, const std::string& module, const std::string& note) {
  const std::vector<float> values(4 * 64, 0.01F);
  write_safetensors(
      file,
      {f32_tensor(module + ".lora_A.weight", {4, 64}, values),
       f32_tensor(module + ".lora_B.weight", {64, 4}, values)},
      {{"note" + note.substr(0, 900), note}});
}

TEST_CASE("names in a LoRA are shown escaped and cut, by every command that reads it") {
  const TinySave tiny;
  const std::string lora = tiny.path("l.safetensors");
  for (const std::string& name : hostile_names()) {
    write_lora(lora, "transformer." + name + ".to_q", name);
    if (name.size() > kMostInAName) {
      CHECK(run_clean({"inspect", lora}).status == 1);
      write_lora(lora, "transformer." + name.substr(0, 900) + ".to_q", name);
    }
    CHECK(run_clean({"inspect", lora}).status == 0);
    CHECK(run_clean({"inspect", lora, "--json"}).status == 0);
    CHECK(run_clean({"inspect", lora, "--model", tiny.path("model"), "-v"}).status == 0);
    const Words save = {
        "save", "--model", tiny.path("model"), "--path", tiny.path("out"), "--lora", lora};
    CHECK(run_clean(save).status == 3);
    const ProgramRun drawn = run_clean(
        {"generate",
         "--model",
         tiny.path("model"),
         "--prompt",
         "x",
         "--steps",
         "1",
         "--height",
         "16",
         "--width",
         "16",
         "--output",
         tiny.path("x.png"),
         "--lora",
         lora});
    CHECK(drawn.status == (contains(drawn.err, "unknown command") ? 2 : 3));
    CHECK(
        run_clean(save + Words{"--dry-run", "--json", "--on-lora-failure", "skip-layer"}).status ==
        0);
    CHECK(run_clean(save + Words{"-v", "--on-lora-failure", "skip-layer"}).status == 0);
    CHECK(run_clean({"verify", tiny.path("out")}).status == 0);
    CHECK(run_clean({"report", tiny.path("out"), "--json"}).status == 0);
    CHECK(run_clean({"report", tiny.path("out")}).status == 0);
    fs::remove_all(tiny.path("out"));
  }
}

TEST_CASE("names and values in a model are shown escaped and cut") {
  const TinySave tiny;
  const fs::path shard = tiny.folder / "model/vae/diffusion_pytorch_model.safetensors";
  const std::string config = read_file(tiny.folder / "model/transformer/config.json");
  const std::string index = read_file(tiny.folder / "model/model_index.json");
  const Words save = {"save", "--model", tiny.path("model"), "--path", tiny.path("out")};
  for (const std::string& name : hostile_names()) {
    write_safetensors(
        tiny.folder / "one.safetensors",
        {f32_tensor(name, {1}, {1})},
        {{"quantization_level", name}, {"mflux_version", name}});
    run_clean({"inspect", tiny.path("one.safetensors"), "--tensors"});
    run_clean({"inspect", tiny.path("one.safetensors"), "--tensors", "--json"});
    CHECK(run_clean({"compare", tiny.path("one.safetensors"), tiny.path("model")}).status == 1);
    for (const char* key : {"_class_name", "num_layers", "guidance_embeds"}) {
      Json changed = Json::parse(config);
      changed[key] = name;
      write_file(tiny.folder / "model/transformer/config.json", changed.dump());
      run_clean({"inspect", tiny.path("model")});
      run_clean({"inspect", tiny.path("model"), "--json"});
      run_clean(save + Words{"--dry-run"});
      run_clean({"generate", "--model", tiny.path("model"), "--prompt", "x", "--dry-run"});
    }
    write_file(tiny.folder / "model/transformer/config.json", config);
    Json changed = Json::parse(index);
    changed["vae"] = {"diffusers", name};
    changed["_class_name"] = name;
    write_file(tiny.folder / "model/model_index.json", changed.dump());
    run_clean(save + Words{"--dry-run"});
    write_file(tiny.folder / "model/model_index.json", index);
    fs::copy_file(shard, tiny.folder / "kept", fs::copy_options::overwrite_existing);
    write_safetensors(shard, {f32_tensor(name, {1}, {1})});
    CHECK(run_clean(save).status == 1);
    run_clean({"inspect", tiny.path("model")});
    fs::rename(tiny.folder / "kept", shard);
  }
}

TEST_CASE("names and values in a receipt are shown escaped and cut") {
  const TinySave tiny;
  save(tiny.options());
  const fs::path file = tiny.folder / "out/bake.json";
  const Json receipt = Json::parse(read_file(file));
  for (const std::string& name : hostile_names()) {
    const auto check = [&](auto change) {
      Json changed = receipt;
      change(changed);
      write_file(file, changed.dump(1));
      CHECK(run_clean({"verify", tiny.path("out")}).status == 4);
      run_clean({"verify", tiny.path("out"), "--json"});
      run_clean({"inspect", tiny.path("out")});
      run_clean({"report", tiny.path("out")});
    };
    check([&](Json& json) { json["outputs"][0]["file"] = name; });
    check([&](Json& json) { json["loras"][0]["file"] = name; });
    check([&](Json& json) { json["program_version"] = name; });
    check([&](Json& json) { json["components"][name] = {{"shards", 1}}; });
    check([&](Json& json) { json["options"]["base_model"] = name; });
    check([&](Json& json) { json[name] = 1; });
    write_file(file, "{\"format\": " + name);
    CHECK(run_clean({"verify", tiny.path("out")}).status == 4);
  }
}

TEST_CASE("names of files and folders are shown escaped") {
  const TinySave tiny;
  for (const std::string& name : Words{kName, "not UTF-8: \xff\xfe\x9b"}) {
    const fs::path model = tiny.folder / ("m" + name);
    fs::rename(tiny.path("model"), model);
    const std::string lora = tiny.path("l" + name + ".safetensors");
    fs::copy_file(tiny.path("lora.safetensors"), lora);
    const std::string out = tiny.path("o" + name);
    run_clean({"save", "-v", "--model", model.string(), "--path", out, "--lora", lora});
    run_clean({"save", "--json", "-v", "--overwrite", "--model", model.string(), "--path", out});
    CHECK(run_clean({"inspect", model.string()}).status == 0);
    CHECK(run_clean({"inspect", model.string(), "--json"}).status == 0);
    CHECK(run_clean({"verify", out}).status == 0);
    CHECK(run_clean({"report", out}).status == 0);
    write_file(out + "/" + name + ".bin", "x");
    CHECK(run_clean({"verify", out}).status == 4);
    CHECK(run_clean({"verify", out, "--json"}).status == 4);
    CHECK(run_clean({"compare", model.string(), out}).status == 0);
    CHECK(run_clean({"compare", model.string(), out, "--json"}).status == 0);
    fs::rename(model, tiny.path("model"));
  }
}

TEST_CASE("arguments are shown escaped and cut, those that the parser refuses too") {
  const std::string kilobytes = std::string(20'000, 'n') + "\x1b";  // no system takes a megabyte
  for (const std::string& name : {kName, kilobytes, std::string("\xff\x9b")}) {
    for (const Words& arguments :
         {Words{name},
          {"save", name},
          {"save", "--" + name},
          {"save", "--" + name + "=1"},
          {"save", "--model", name, "--path", "x"},
          {"save", "--model", "x", "--path", "x", "--layout", name},
          {"save", "--model", "x", "--path", "x", "--max-shard-size", name},
          {"save", "--quantize", name},
          {"save", "--job", name},
          {"save", "--model", "x", "--path", "x", "--lora", name, name},
          {"inspect", name},
          {"inspect", "x", "--lora-scale", name},
          {"verify", name},
          {"compare", name, name},
          {"report", name},
          {"completion", name},
          {"generate", "--model", name, "--prompt", name},
          {"generate", "--seed", name},
          {"generate", "--output", name}}) {
      const ProgramRun run = run_clean(arguments);
      CAPTURE(run.err);
      CHECK(run.status != 0);
      CHECK(run.status < 128);
      CHECK_FALSE(run.err.empty());
      CHECK(run.out.empty());
    }
  }
}

TEST_CASE("names and values in a job file are shown escaped and cut") {
  const TinySave tiny;
  for (const std::string& name : hostile_names()) {
    const std::string quoted = Json(name).dump();  // TOML's basic strings have the same escapes
    for (const std::string& text :
         {"model = " + quoted + "\n[[output]]\npath = \"x\"\n",
          "[[output]]\npath = \"x\"\nlayout = " + quoted + "\n",
          "[[output]]\n" + quoted + " = 1\n",
          quoted + " = 1\n",
          "model = [" + name + "\n"}) {
      write_file(tiny.folder / "job.toml", text);
      const ProgramRun run =
          run_clean({"save", "--job", tiny.path("job.toml"), "--model", tiny.path("nowhere")});
      CHECK((run.status == 1 || run.status == 2));
    }
  }
}

}  // namespace
}  // namespace mflux::testing
