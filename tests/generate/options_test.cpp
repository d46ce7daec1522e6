// SPDX-License-Identifier: MIT
// What `mflux generate` makes of prompts, pictures and options, seen in its plan.
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mflux/base/file.h"
#include "mflux/generate/settle.h"
#include "mflux/image/png.h"
#include "tests/program.h"
#include "tests/testing.h"
#include "tests/tiny_model.h"

namespace mflux {
namespace {

using namespace std::string_literals;
using testing::contains;
using testing::ProgramRun;
namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

// Gives a transformer no guidance embedder, as FLUX.1 schnell has none.
void make_schnell(const fs::path& folder) {
  std::vector<testing::TestTensor> kept;
  for (const auto& entry : fs::directory_iterator(folder / "transformer")) {
    if (entry.path().extension() == ".safetensors") {
      const File file = File::open(entry.path());
      const safetensors::Header header = safetensors::read_header(file);
      for (const safetensors::TensorInfo& tensor : header.tensors) {
        if (contains(tensor.name, "guidance_embedder")) continue;
        std::vector<std::byte> data(tensor.spec.bytes());
        file.read(tensor.offset, data);
        kept.push_back({tensor.name, tensor.spec, std::move(data)});
      }
    }
    if (entry.path().filename() != "config.json") fs::remove(entry.path());
  }
  testing::write_safetensors(folder / "transformer/diffusion_pytorch_model.safetensors", kept);
  const fs::path file = folder / "transformer/config.json";
  std::string config = testing::read_file(file);
  const std::string yes = R"("guidance_embeds": true)";
  config.replace(config.find(yes), yes.size(), R"("guidance_embeds": false)");
  testing::write_file(file, config);
}

class Models {
 public:
  Models() {
    testing::write_tiny_model(folder / "flux", testing::TinyFamily::flux);
    testing::write_tiny_model(folder / "qwen", testing::TinyFamily::qwen);
    testing::write_tiny_model(folder / "schnell", testing::TinyFamily::flux);
    make_schnell(folder / "schnell");
  }

  ProgramRun plan(const std::string& model, Arguments arguments) const {
    const Arguments begin = {
        "generate", "--dry-run", "--json", "--model", (folder / model).string()};
    arguments.insert(arguments.begin(), begin.begin(), begin.end());
    return testing::run_program(arguments);
  }

  // What the plan says is drawn, of a prompt in a file.
  std::string prompt_of(const std::string& content) const {
    testing::write_file(folder / "prompt.txt", content);
    const ProgramRun run = plan("flux", {"--prompt-file", (folder / "prompt.txt").string()});
    if (run.status != 0) return run.err;
    return nlohmann::json::parse(run.out).at("prompt").get<std::string>();
  }

  testing::TempDir folder = {};
};

TEST_CASE("a prompt file is read as Python's mflux reads it, and without a byte order mark") {
  const Models models;
  const std::vector<std::pair<std::string, std::string>> files = {
      {"a cat", "a cat"},
      {"\xef\xbb\xbf"
       "a cat\r\n",
       "a cat"},
      {"\xef\xbb\xbf \u3000a cat", "a cat"},
      {"\n\t\u00a0a  cat\u2028\u0085\x1c\x1f \n", "a  cat"},
      {"a cat\r\nin the rain\r\rat night\n", "a cat\nin the rain\n\nat night"},
      {"a\u00a0cat \xef\xbb\xbf", "a\u00a0cat \xef\xbb\xbf"},
      {"K\u00f6ln \U0001f307\n", "K\u00f6ln \U0001f307"}};
  for (const auto& [content, prompt] : files) CHECK(models.prompt_of(content) == prompt);
}

TEST_CASE("a prompt file that is no text in UTF-8 is refused with the place") {
  const Models models;
  const std::string file = "mflux: error: " + (models.folder / "prompt.txt").string() + ": ";
  const std::vector<std::pair<std::string, std::string>> files = {
      {"a c\xe4t", "byte 3 is not UTF-8"},
      {"\xef\xbb\xbf"
       "cat\xff",
       "byte 6 is not UTF-8"},
      {"cat \xe4\xb8", "byte 4 is not UTF-8"},  // cut within a character
      {"\xff\xfe"
       "c\0a\0t\0"s,
       "is UTF-16"},
      {"\xfe\xff\0c\0a\0t"s, "is UTF-16"},
      {"c\0a\0t\0"s, "byte 1 is zero"},
      {"", "is empty"},
      {"\xef\xbb\xbf", "is empty"},
      {" \r\n\u3000", "is empty"}};
  for (const auto& [content, message] : files) {
    const std::string error = models.prompt_of(content);
    CHECK_MESSAGE(error.find(file + message) == 0, error);
  }
}

TEST_CASE("text on the command line is UTF-8 too, and as it was given") {
  const Models models;
  const std::string latin = "caf\xe9 a";
  ProgramRun wrong = models.plan("qwen", {"--prompt", latin});
  CHECK(wrong.status == 2);
  CHECK(contains(wrong.err, "error: --prompt: byte 3 is not UTF-8"));
  wrong = models.plan("flux", {"--prompt", "a cat", "--negative-prompt", latin});
  CHECK(wrong.status == 2);
  CHECK(contains(wrong.err, "error: --negative-prompt: byte 3 is not UTF-8"));
  const ProgramRun run = models.plan("flux", {"--prompt", " a cat\n"});
  CHECK(nlohmann::json::parse(run.out).at("prompt") == " a cat\n");
}

TEST_CASE("a prompt comes from standard input, by each of its names") {
  const Models models;
  testing::write_file(
      models.folder / "in",
      "\xef\xbb\xbf"
      "a cat\r\n");
  for (const char* option : {"--prompt", "--prompt-file"}) {
    const std::string out = (models.folder / "out").string();
    const std::string command = fmt::format(
        "'{}' generate --dry-run --json --model '{}' {} - <'{}' >'{}'",
        MFLUX_PROGRAM,
        (models.folder / "flux").string(),
        option,
        (models.folder / "in").string(),
        out);
    REQUIRE(std::system(command.c_str()) == 0);
    CHECK(nlohmann::json::parse(testing::read_file(out)).at("prompt") == "a cat");
  }
}

// A recipe as the program writes it, with one value changed, as it is drawn.
ProgramRun replayed(const Models& models, const char* key, const std::string& value) {
  nlohmann::json recipe = {
      {"model", (models.folder / "flux").string()},
      {"prompt", "a cat"},
      {"negative_prompt", ""},
      {"seed", 7},
      {"steps", 2},
      {"height", 16},
      {"width", 16},
      {"guidance", 1.5},
      {"scheduler", "linear"},
      {"quantize", nullptr},
      {"q_mode", "affine"},
      {"image_strength", 0.4},
      {"references", nlohmann::json::array()},
      {"loras", nlohmann::json::array()}};
  recipe[key] = nlohmann::json::parse(value);
  const fs::path png = models.folder / "recipe.png";
  write_png(png, {1, 1, {0, 0, 0}}, {{kRecipeKeyword, recipe.dump()}});
  return testing::run_program(
      {"generate", "--dry-run", "--json", "--config-from-metadata", png.string()});
}

TEST_CASE("a recipe's numbers are taken as they are, or refused by name") {
  const Models models;
  const ProgramRun good = replayed(models, "seed", "18446744073709551615");
  CHECK_MESSAGE(good.status == 0, good.err);
  CHECK(nlohmann::json::parse(good.out).at("steps") == 2);
  for (const char* key : {"seed", "steps", "height", "width", "quantize"}) {
    for (const char* value :
         {"1e300", "-1", "1.5", "18446744073709551616", "\"9\"", "true", "[1]"}) {
      CAPTURE(key);
      CAPTURE(value);
      const ProgramRun run = replayed(models, key, value);
      CHECK(run.status == 1);
      CHECK_MESSAGE(contains(run.err, fmt::format("recipe cannot be read: {} is ", key)), run.err);
      CHECK(contains(run.err, "expected a whole number from "));
    }
  }
  for (const char* key : {"guidance", "image_strength"}) {
    for (const char* value : {"1e300", "\"1\"", "[]"}) {
      CAPTURE(key);
      const ProgramRun run = replayed(models, key, value);
      CHECK(run.status == 1);
      CHECK(contains(run.err, fmt::format("recipe cannot be read: {} is ", key)));
    }
  }
  CHECK(contains(replayed(models, "steps", "2147483647").err, "from 1 to 10000"));
  CHECK(contains(replayed(models, "width", "4294967312").err, "from 1 to 16384"));
  CHECK(contains(replayed(models, "model", "7").err, "model is 7, expected a string"));
  CHECK(contains(replayed(models, "seed", "null").err, "seed is missing"));
  CHECK(contains(replayed(models, "loras", "{}").err, "loras is {}, expected a list"));
  CHECK(contains(replayed(models, "loras", "[7]").err, "is not a JSON object"));
  CHECK(contains(replayed(models, "references", "[7]").err, "a reference is 7, expected a string"));
  const std::string deep(40'000, '[');
  CHECK(contains(
      replayed(models, "mask", deep + std::string(40'000, ']')).err,
      "it nests more than 64 lists and objects"));
}

TEST_CASE("what no picture needs is refused by a limit before anything is made of it") {
  const Models models;
  const struct {
    Arguments arguments;
    std::string message;
  } kCases[] = {
      {{"--steps", "2147483647"}, "2147483647 steps: expected a number from 1 to 10000"},
      {{"--steps", "10001"}, "10001 steps: expected a number from 1 to 10000"},
      {{"--steps", "0"}, "0 steps: expected a number from 1 to 10000"},
      {{"--steps", "-3"}, "-3 steps: expected a number from 1 to 10000"},
      {{"--width", "2147483632"}, "width 2147483632: must be a multiple of 16 from 16 to 16384"},
      {{"--height", "-16"}, "height -16: must be a multiple of 16 from 16 to 16384"},
      {{"--width", "99999999999999"}, "--width '99999999999999' is not a number of pixels"},
      {{"--guidance", "inf"}, "guidance inf is not a number"},
      {{"--guidance", "nan"}, "guidance nan is not a number"},
      {{"--auto-seeds", "2147483647"}, "--auto-seeds 2147483647: expected at most 10000"},
      {{"--negative-prompt", std::string(100'001, 'x')},
       "the negative prompt has 100001 bytes, expected at most 100000"},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.message);
    Arguments arguments = {"--prompt", "a cat"};
    arguments.insert(arguments.end(), c.arguments.begin(), c.arguments.end());
    const ProgramRun run = models.plan("flux", arguments);
    CHECK(run.status == 2);
    CHECK_MESSAGE(contains(run.err, c.message), run.err.substr(0, 300));
  }
  CHECK(models.plan("flux", {"--prompt", "a cat", "--steps", "10000"}).status == 0);
  CHECK(contains(
      models.prompt_of(std::string(100'001, 'x')),
      "the prompt has 100001 bytes, expected at most"));
  CHECK(contains(
      models.prompt_of(std::string(2'000'000, ' ')), "prompt.txt: has more than 1000000 bytes"));
}

TEST_CASE("an option without effect is said once, on standard error") {
  const Models models;
  write_png(models.folder / "a.png", {16, 32, std::vector<uint8_t>(16 * 32 * 3)}, {});
  const std::string picture = (models.folder / "a.png").string();
  struct Case {
    const char* model;
    Arguments arguments;
    const char* note;  // "": nothing to say
  };
  const std::vector<Case> cases = {
      {"flux", {}, ""},
      {"flux", {"--negative-prompt", "blur"}, "--negative-prompt has no effect: FLUX.1 takes"},
      {"schnell", {"--negative-prompt", "blur"}, "--negative-prompt has no effect: FLUX.1 takes"},
      {"qwen", {"--negative-prompt", "blur"}, ""},
      {"qwen",
       {"--negative-prompt", "blur", "--guidance", "1"},
       "--negative-prompt has no effect at"},
      {"qwen", {"--guidance", "1"}, ""},
      {"flux", {"--guidance", "2"}, ""},
      {"schnell", {"--guidance", "2"}, "--guidance has no effect: this model has no guidance"},
      {"flux", {"--image-strength", "0.5"}, "--image-strength has no effect without --image"},
      {"flux", {"--image", picture, "--image-strength", "0.5"}, ""},
      {"flux", {"--image", picture, "0.5"}, ""},
      {"flux",
       {"--image", picture, "0.5", "--image-strength", "0.6"},
       "--image-strength has no effect beside"},
      {"qwen", {"--base-model", "qwen-image-edit", "--image", picture}, ""},
      {"qwen",
       {"--base-model", "qwen-image-edit", "--image", picture, "0.5"},
       "--image and a strength: the strength has no effect, Qwen-Image-Edit looks"},
      {"qwen",
       {"--base-model", "qwen-image-edit", "--image", picture, "--image-strength", "0.5"},
       "--image-strength has no effect: Qwen-Image-Edit looks"},
      {"qwen", {"--vae-tile-size", "256"}, "--vae-tile-size turns --vae-tiling on"},
      {"qwen", {"--vae-tile-size", "256", "--vae-tiling"}, ""},
      {"flux", {"--q-mode", "affine"}, "--q-mode affine has no effect without --quantize"},
      {"flux", {"--q-mode", "affine", "--quantize", "4"}, ""},
      {"flux", {"--q-mode", "mxfp4"}, ""},
      {"flux", {"--seed", "1", "--auto-seeds", "2"}, "--auto-seeds has no effect beside --seed"},
  };
  for (const Case& one : cases) {
    Arguments arguments = {"--prompt", "a cat"};
    arguments.insert(arguments.end(), one.arguments.begin(), one.arguments.end());
    const ProgramRun run = models.plan(one.model, arguments);
    CAPTURE(run.err);
    CHECK(run.status == 0);
    CHECK(run.lines().size() == 1);
    const std::string note = one.note;
    if (note.empty())
      CHECK(run.err.empty());
    else
      CHECK(run.err.find("Note: " + note) == 0);
    CHECK(run.err.find("Note: ", 1) == run.err.npos);
  }
}

TEST_CASE("packing what is packed is said") {
  const Models models;
  const std::string packed = (models.folder / "packed").string();
  const ProgramRun save = testing::run_program(
      {"save", "--model", (models.folder / "flux").string(), "--quantize", "4", "--path", packed});
  REQUIRE(save.status == 0);
  const ProgramRun run = models.plan("packed", {"--prompt", "a cat", "--quantize", "4"});
  CHECK(run.status == 0);
  CHECK(
      contains(run.err, "Note: --quantize has no effect: the model's weights are packed already"));
}

TEST_CASE("scales without a LoRA are an error of usage") {
  const Models models;
  for (const char* option : {"--lora-scale", "--lora-block-scales"}) {
    const ProgramRun run = models.plan("flux", {"--prompt", "a cat", option, "2"});
    CHECK(run.status == 2);
    CHECK(contains(run.err, "0 LoRA(s)"));
  }
}

TEST_CASE("white shows through pictures, but not through masks") {
  const fs::path file = fs::path(MFLUX_TEST_DATA) / "pictures/rgba.png";
  const InputPictures pictures =
      read_pictures({.image = file, .references = {file, file}, .mask = file});
  const Picture on_white = read_picture(file, Transparency::on_white);
  CHECK(pictures.image.value().rgb == on_white.rgb);
  REQUIRE(pictures.references.size() == 2);
  CHECK(pictures.references[1].rgb == on_white.rgb);
  CHECK(pictures.mask.value().rgb == read_picture(file, Transparency::dropped).rgb);
  CHECK(pictures.mask.value().rgb != on_white.rgb);
}

TEST_CASE("sizes are those of the picture as it is turned") {
  const Models models;
  const auto size = [&](const char* name) {
    const std::string file = (fs::path(MFLUX_TEST_DATA) / "pictures" / name).string();
    const ProgramRun run = models.plan("flux", {"--prompt", "a cat", "--reference", file});
    const auto plan = nlohmann::json::parse(run.out);
    return std::pair(plan.at("width").get<int>(), plan.at("height").get<int>());
  };
  CHECK(size("exif1.png") == std::pair(1168, 896));
  CHECK(size("exif6.png") == std::pair(896, 1168));
  CHECK(size("xmp5.jpg") == std::pair(896, 1168));
}

TEST_CASE("a picture that cannot be read is refused with the plan, whatever it is for") {
  const Models models;
  const std::string file = (models.folder / "photo.png").string();
  testing::write_file(
      file,
      "\0\0\0\x18"
      "ftypheic\0\0\0\0"s);
  for (const char* option : {"--image", "--reference", "--mask"}) {
    const ProgramRun run = models.plan("flux", {"--prompt", "a cat", option, file});
    CHECK(run.status == 1);
    CHECK(contains(run.err, file + ": is a HEIC picture"));
  }
}

}  // namespace
}  // namespace mflux
