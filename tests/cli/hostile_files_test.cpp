// SPDX-License-Identifier: MIT
// Files that no program should be ended by: every command says what is wrong with them.
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/base/file.h"
#include "tests/process.h"
#include "tests/tiny_save.h"

namespace mflux::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kFirstSignal = 1000;

// The transformer as one file, its tensors changed.
template <typename Change>
void rewrite_transformer(const fs::path& model, Change change) {
  std::vector<TestTensor> tensors;
  for (const auto& entry : fs::directory_iterator(model / "transformer")) {
    if (entry.path().extension() == ".safetensors") {
      const File file = File::open(entry.path());
      for (const safetensors::TensorInfo& info : safetensors::read_header(file).tensors) {
        TestTensor tensor{info.name, info.spec, std::vector<std::byte>(info.bytes)};
        file.read(info.offset, tensor.data);
        change(tensor);
        tensor.data.resize(tensor.spec.bytes());
        tensors.push_back(std::move(tensor));
      }
    }
    if (entry.path().filename() != "config.json") fs::remove(entry.path());
  }
  write_safetensors(model / "transformer/diffusion_pytorch_model.safetensors", tensors);
}

struct Shaped {
  const char* ending;
  Shape shape;
};

void write_lora(const fs::path& path, const std::vector<Shaped>& parts) {
  std::vector<TestTensor> tensors;
  for (const Shaped& part : parts) {
    const std::vector<float> values(element_count(part.shape).value(), 0.25F);
    tensors.push_back(f32_tensor(
        std::string("transformer.transformer_blocks.0.attn.to_q") + part.ending,
        part.shape,
        values));
  }
  write_safetensors(path, tensors);
}

const std::vector<std::vector<Shaped>>& loras() {
  static const std::vector<std::vector<Shaped>> kLoras = {
      {{".lora_A.weight", {4, 64}}, {".lora_B.weight", {64, 4}}},
      {{".lora_A.weight", {4, 64}}, {".lora_B.weight", {64, 4}}, {".dora_scale", {1, 64}}},
      {{".oft_blocks", {4, 16, 16}}},
      {{".oft_blocks", {2, 4, 16, 16}}},
      {{".oft_R.weight", {4, 120}}},
      {{".lokr_w1", {8, 8}}, {".lokr_w2", {8, 8}}},
      {{".diff", {64, 64}}},
  };
  return kLoras;
}

TEST_CASE("a model in which a matrix has no columns or no rows is refused, whatever the LoRA") {
  const auto one = [](TestTensor& tensor, const Shape& shape) {
    if (tensor.name == "transformer_blocks.0.attn.to_q.weight") tensor.spec.shape = shape;
  };
  for (const bool all : {false, true}) {
    for (const bool columns : {false, true}) {
      const TinySave tiny;
      rewrite_transformer(tiny.folder / "model", [&](TestTensor& tensor) {
        if (!all) return one(tensor, columns ? Shape{64, 0} : Shape{0, 64});
        if (tensor.spec.shape.size() == 2) tensor.spec.shape[columns ? 1 : 0] = 0;
      });
      for (const std::vector<Shaped>& lora : loras()) {
        CAPTURE(all);
        CAPTURE(columns);
        CAPTURE(lora.front().ending);
        write_lora(tiny.folder / "lora.safetensors", lora);
        const ProgramRun run = run_program(ProgramCall{.arguments = tiny.arguments()});
        CAPTURE(run.err);
        CHECK(run.status == 1);
        CHECK(contains(run.err, "it holds no values"));
        CHECK_FALSE(fs::exists(tiny.path("out")));
      }
    }
  }
}

TEST_CASE("commands that only look at a model of empty matrices end with a status") {
  const TinySave tiny;
  rewrite_transformer(tiny.folder / "model", [](TestTensor& tensor) {
    if (tensor.spec.shape.size() == 2) tensor.spec.shape[1] = 0;
  });
  const std::string model = tiny.path("model");
  const std::string file = tiny.path("model/transformer/diffusion_pytorch_model.safetensors");
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"inspect", model},
           {"inspect", file},
           {"inspect", "--json", model},
           {"compare", model, model},
           {"compare", file, file},
           {"verify", model},
           {"save", "--model", file, "--path", tiny.path("out")}}) {
    const ProgramRun run = run_program(ProgramCall{.arguments = arguments});
    CAPTURE(arguments.front());
    CAPTURE(run.err);
    CHECK(run.status < kFirstSignal);
  }
}

TEST_CASE("LoRAs of empty tensors end no command with a signal") {
  const TinySave tiny;
  const std::string lora = tiny.path("lora.safetensors");
  for (std::vector<Shaped> parts : loras()) {
    for (size_t i = 0; i < parts.size(); ++i) {
      for (size_t dimension = 0; dimension < parts[i].shape.size(); ++dimension) {
        std::vector<Shaped> changed = parts;
        changed[i].shape[dimension] = 0;
        write_lora(tiny.folder / "lora.safetensors", changed);
        CAPTURE(changed[i].ending);
        CAPTURE(dimension);
        const ProgramRun saved = run_program(ProgramCall{.arguments = tiny.arguments()});
        CHECK(saved.status == 3);
        const ProgramRun shown =
            run_program(ProgramCall{.arguments = {"inspect", lora, "--model", tiny.path("model")}});
        CHECK(shown.status < kFirstSignal);
      }
    }
  }
}

}  // namespace
}  // namespace mflux::testing
