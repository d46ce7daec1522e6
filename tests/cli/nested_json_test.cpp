// SPDX-License-Identifier: MIT
// Every JSON file that the program opens, of 150,000 nested lists: refused in a sentence that names
// it, whoever opens it.
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/process.h"
#include "tests/tiny_save.h"

namespace mflux::testing {
namespace {

namespace fs = std::filesystem;

const std::string kNested(150'000, '[');

struct Refusal {
  std::string file;  // in the model
  TinyFamily family = TinyFamily::flux;
};

TEST_CASE("a model's JSON of 150,000 nested lists is refused by name") {
  for (const Refusal& c : std::vector<Refusal>{
           {"model_index.json"},
           {"transformer/config.json"},
           {"vae/config.json"},
           {"text_encoder_2/config.json"},
           {"transformer/config.json", TinyFamily::qwen},
           {"text_encoder/config.json", TinyFamily::qwen}}) {
    for (const std::string& text : {kNested, "{\"a\":" + kNested, std::string(300'000, '{')}) {
      CAPTURE(c.file);
      const TinySave tiny(c.family);
      write_file(tiny.folder / "model" / c.file, text);
      const ProgramRun run = run_program(ProgramCall{.arguments = tiny.arguments()});
      CAPTURE(run.err.substr(0, 500));
      CHECK(run.status == 1);
      CHECK(contains(run.err, c.file + " nests more than 64 lists and objects"));
      CHECK_FALSE(fs::exists(tiny.path("out")));
    }
  }
}

TEST_CASE("a LoRA's JSON of 150,000 nested lists is refused by name") {
  const TinySave tiny;
  write_file(tiny.folder / "adapter_config.json", kNested);
  const ProgramRun run = run_program(ProgramCall{.arguments = tiny.arguments()});
  CHECK(run.status == 3);
  CHECK(contains(run.err, "adapter_config.json nests more than 64 lists and objects"));
  for (const char* key : {"lora_adapter_metadata", "lora_alpha", "network_alpha"}) {
    CAPTURE(key);
    fs::remove(tiny.folder / "adapter_config.json");
    write_safetensors(
        tiny.folder / "lora.safetensors", {f32_tensor("x", {1}, {0})}, {{key, kNested}});
    const ProgramRun inspected =
        run_program(ProgramCall{.arguments = {"inspect", tiny.path("lora.safetensors")}});
    CHECK(inspected.status < 5);
    const ProgramRun saved = run_program(ProgramCall{.arguments = tiny.arguments()});
    CHECK(saved.status == 3);
  }
}

TEST_CASE("a saved folder's JSON of 150,000 nested lists is refused by name") {
  const TinySave tiny;
  REQUIRE(run_program(ProgramCall{.arguments = tiny.arguments()}).status == 0);
  for (const char* file :
       {"bake.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer_2/special_tokens_map.json",
        "tokenizer/vocab.json"}) {
    CAPTURE(file);
    const fs::path path = tiny.folder / "out" / file;
    const std::string before = fs::exists(path) ? read_file(path) : "";
    write_file(path, kNested);
    const ProgramRun run = run_program(ProgramCall{.arguments = {"verify", tiny.path("out")}});
    CHECK(run.status == 4);
    CHECK(contains(run.out + run.err, "nests more than 64 lists and objects"));
    if (before.empty()) fs::remove(path);
    if (!before.empty()) write_file(path, before);
  }
  write_file(tiny.folder / "out/bake.json", kNested);
  for (const char* command : {"report", "inspect"}) {
    CAPTURE(command);
    std::vector<std::string> arguments = {command, tiny.path("out")};
    if (arguments.front() == "report")
      arguments.insert(arguments.end(), {"--output", tiny.path("page.html")});
    CHECK(run_program(ProgramCall{.arguments = arguments}).status < 2);
  }
}

TEST_CASE("names of a length that no name has are refused in a sentence") {
  const TinySave tiny;
  const std::string longest(120'000, 'a');
  for (const std::string& name :
       {longest, "a/" + longest, longest + "/b", longest + ".safetensors"}) {
    const ProgramRun model = run_program(
        ProgramCall{.arguments = {"save", "--model", name, "--path", tiny.path("out"), "-q", "8"}});
    CHECK(model.status == 2);
    CHECK(contains(model.err, "the name of the model has 120"));
    CHECK(contains(model.err, "bytes, expected at most 4096: "));
    const ProgramRun lora = run_program(ProgramCall{
        .arguments = {
            "save", "--model", tiny.path("model"), "--path", tiny.path("out"), "--lora", name}});
    CHECK(lora.status == 2);
    CHECK(contains(lora.err, "the name of the LoRA has 120"));
  }
}

}  // namespace
}  // namespace mflux::testing
