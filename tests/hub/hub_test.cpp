// SPDX-License-Identifier: MIT
#include "mflux/hub/hub.h"

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include <doctest/doctest.h>
#include <stdlib.h>

#include "tests/testing.h"

namespace mflux::hub {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;
using testing::contains;
using testing::error_of;
using testing::TempDir;
using testing::write_file;

// The variables that say where the cache is, as they were at the end of the scope.
class Environment {
 public:
  Environment() {
    for (const char* name : {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"}) {
      const char* value = std::getenv(name);
      before_[name] = value == nullptr ? std::nullopt : std::optional<std::string>(value);
      ::unsetenv(name);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() {
    for (const auto& [name, value] : before_) {
      if (value)
        set(name, *value);
      else
        ::unsetenv(name.c_str());
    }
  }

  static void set(const std::string& name, const fs::path& value) {
    ::setenv(name.c_str(), value.c_str(), 1);
  }

 private:
  std::map<std::string, std::optional<std::string>> before_ = {};
};

// As huggingface_hub lays it out; returns the snapshot.
fs::path add_snapshot(
    const fs::path& cache,
    const std::string& folder,
    const std::string& revision,
    bool main = true) {
  const fs::path root = cache / folder;
  fs::create_directories(root / "snapshots" / revision);
  fs::create_directories(root / "refs");
  if (main) write_file(root / "refs/main", revision);
  return root / "snapshots" / revision;
}

TEST_CASE("what exists is a path, whatever it is called") {
  const TempDir folder;
  const Environment environment;
  write_file(folder / "x.safetensors", "x");
  CHECK(resolve_model(folder.path().string()) == folder.path());
  CHECK(resolve_lora((folder / "x.safetensors").string()) == folder / "x.safetensors");
}

TEST_CASE("built-in names and owner/repo are found in the cache") {
  const TempDir folder;
  const Environment environment;
  Environment::set("HF_HUB_CACHE", folder.path());
  const auto flux = add_snapshot(folder.path(), "models--black-forest-labs--FLUX.1-dev", "abc123");
  const auto qwen = add_snapshot(folder.path(), "models--Qwen--Qwen-Image-2512", "0123");
  const auto own = add_snapshot(folder.path(), "models--some-one--a.model_1", "ff");
  CHECK(resolve_model("dev") == flux);
  CHECK(resolve_model("black-forest-labs/FLUX.1-dev") == flux);
  CHECK(resolve_model("qwen-image") == qwen);
  CHECK(resolve_model("some-one/a.model_1") == own);
}

TEST_CASE("refs/main chooses the snapshot; without it there must be one alone") {
  const TempDir folder;
  const Environment environment;
  Environment::set("HF_HUB_CACHE", folder.path());
  add_snapshot(folder.path(), "models--a--b", "111", false);
  CHECK(resolve_model("a/b").filename() == "111");
  add_snapshot(folder.path(), "models--a--b", "222", false);
  CHECK(contains(error_of([] { resolve_model("a/b"); }), "is not in the Hugging Face cache"));
  add_snapshot(folder.path(), "models--a--b", "222\n", false);
  write_file(folder / "models--a--b/refs/main", "222\n");
  CHECK(resolve_model("a/b").filename() == "222");
  write_file(folder / "models--a--b/refs/main", "../../../..");  // no revision is spelled so
  CHECK_THROWS(resolve_model("a/b"));
}

TEST_CASE("a refs/main whose snapshot is not there is refused, whatever else is there") {
  const TempDir folder;
  const Environment environment;
  Environment::set("HF_HUB_CACHE", folder.path());
  add_snapshot(folder.path(), "models--a--b", "111");
  const fs::path main = folder / "models--a--b/refs/main";
  for (const char* revision : {"222", "222\n", "", "not hex"}) {
    write_file(main, revision);
    const std::string message = error_of([] { resolve_model("a/b"); });
    CAPTURE(message);
    CHECK(message.starts_with(main.string() + ": names the snapshot '"));
    CHECK(contains(message, "which is not in "));
    CHECK(contains(message, "hf download a/b"));
    CHECK(error_of([] { resolve_lora("a/b:x.safetensors"); }) == message);
  }
  write_file(main, "111");
  CHECK(resolve_model("a/b").filename() == "111");
}

TEST_CASE("the cache is where huggingface_hub has it") {
  const TempDir folder;
  const Environment environment;
  const auto found_in =
      [&](const std::string& variable, const fs::path& value, const fs::path& cache) {
        Environment::set(variable, value);
        const fs::path snapshot = add_snapshot(cache, "models--a--" + variable, "1");
        CHECK(resolve_model("a/" + variable) == snapshot);
      };
  found_in("HOME", folder / "home", folder / "home/.cache/huggingface/hub");
  found_in("XDG_CACHE_HOME", folder / "xdg", folder / "xdg/huggingface/hub");
  found_in("HF_HOME", folder / "hf", folder / "hf/hub");
  found_in("HF_HUB_CACHE", folder / "cache", folder / "cache");
}

TEST_CASE("what is nowhere is an error that says where it was looked for") {
  const TempDir folder;
  const Environment environment;
  Environment::set("HF_HUB_CACHE", folder.path());
  const std::string dev = error_of([] { resolve_model("dev"); });
  CHECK(contains(dev, "black-forest-labs/FLUX.1-dev is not in the Hugging Face cache"));
  CHECK(contains(dev, folder.path().string()));
  CHECK(contains(dev, "hf download black-forest-labs/FLUX.1-dev"));
  CHECK(contains(error_of([] { resolve_model("no/such-repo"); }), "no/such-repo"));
  CHECK(contains(error_of([] { resolve_model("nonsense"); }), "not the name of a known model"));
  CHECK(contains(error_of([] { resolve_model("/no/such/path"); }), "/no/such/path: no such file"));
  CHECK(contains(error_of([] { resolve_model("../no/../such"); }), "no such file or folder"));
  CHECK(contains(error_of([] { resolve_model(""); }), "no such file or folder"));
  CHECK(contains(
      error_of([] { resolve_lora("x/y.safetensors"); }), "y.safetensors: LoRA file not found"));
}

TEST_CASE("a file of a repository does not leave its snapshot") {
  const TempDir folder;
  const Environment environment;
  Environment::set("HF_HUB_CACHE", folder / "cache");
  const auto snapshot = add_snapshot(folder / "cache", "models--a--b", "1");
  fs::create_directories(snapshot / "sub");
  write_file(snapshot / "sub/x.safetensors", "x");
  write_file(folder / "y.safetensors", "y");
  CHECK(resolve_lora("a/b:sub/x.safetensors") == snapshot / "sub/x.safetensors");
  const std::string absolute = (folder / "y.safetensors").string();
  for (const std::string& within : {absolute, "../../../../y.safetensors"s, "sub/../sub/x"s, ""s}) {
    CAPTURE(within);
    CHECK(contains(
        error_of([&] { resolve_lora("a/b:" + within); }),
        "not the name of a file in the repository"));
  }
}

TEST_CASE("a LoRA is a file, a folder with one, or a repository with or without a file") {
  const TempDir folder;
  const Environment environment;
  Environment::set("HF_HUB_CACHE", folder.path());
  const auto one = add_snapshot(folder.path(), "models--a--one", "1");
  write_file(one / "style.safetensors", "x");
  write_file(one / "README.md", "x");
  write_file(one / "._style.safetensors", "x");
  const auto two = add_snapshot(folder.path(), "models--a--two", "1");
  write_file(two / "b.safetensors", "x");
  write_file(two / "a.safetensors", "x");
  const auto none = add_snapshot(folder.path(), "models--a--none", "1");
  CHECK(resolve_lora("a/one") == one / "style.safetensors");
  CHECK(resolve_lora(one.string()) == one / "style.safetensors");
  CHECK(resolve_lora("a/two:b.safetensors") == two / "b.safetensors");
  CHECK(contains(
      error_of([] { resolve_lora("a/two"); }),
      "several files, name one of: a.safetensors, b.safetensors"));
  CHECK(contains(error_of([] { resolve_lora("a/none"); }), "holds no .safetensors file"));
  CHECK(contains(error_of([] { resolve_lora("a/two:c.safetensors"); }), "is not there"));
  CHECK(contains(error_of([] { resolve_lora("a/gone"); }), "is not in the Hugging Face cache"));
}

TEST_CASE("a folder that a trainer wrote is the LoRA in it") {
  const TempDir folder;
  const auto in = [&](const std::string& name, const std::vector<std::string>& files) {
    fs::create_directories(folder / name);
    for (const std::string& file : files) write_file(folder / name / file, "x");
    return folder / name;
  };
  const fs::path peft = in("peft", {"adapter_config.json", "adapter_model.safetensors"});
  CHECK(resolve_lora(peft.string()) == peft / "adapter_model.safetensors");
  const fs::path trained = in("trained", {"adapter_model.safetensors", "optimizer.safetensors"});
  CHECK(resolve_lora(trained.string()) == trained / "adapter_model.safetensors");
  const fs::path mlx = in("mlx", {"0000100_adapters.safetensors", "adapters.safetensors"});
  CHECK(resolve_lora(mlx.string()) == mlx / "adapters.safetensors");
  const fs::path diffusers = in("d", {"pytorch_lora_weights.safetensors", "other.safetensors"});
  CHECK(resolve_lora(diffusers.string()) == diffusers / "pytorch_lora_weights.safetensors");
  const fs::path shards =
      in("shards", {"x-00001-of-00002.safetensors", "x-00002-of-00002.safetensors"});
  CHECK(resolve_lora(shards.string()) == shards);
  const fs::path part = in("part", {"x-00001-of-00002.safetensors"});
  CHECK(resolve_lora(part.string()) == part);
  const fs::path index = in("index", {"x.safetensors.index.json", "x-00001-of-00001.safetensors"});
  CHECK(resolve_lora(index.string()) == index / "x.safetensors.index.json");
  const fs::path pickle = in("pickle", {"adapter_config.json", "adapter_model.bin"});
  CHECK(contains(
      error_of([&] { resolve_lora(pickle.string()); }), "adapter_model.bin is a PyTorch (pickle)"));
}

TEST_CASE("what belongs elsewhere is wrong usage that says where") {
  const struct {
    std::string name;
    std::string message;
  } kCases[] = {
      {"https://example.com/x.safetensors", "is a URL"},
      {"hf://owner/repo/x.safetensors", "is a URL"},
      {"x.safetensors:0.8", "--lora x.safetensors --lora-scale 0.8"},
      {"x.safetensors:0,8", "--lora x.safetensors --lora-scale 0.8"},
      {"x.safetensors=-1", "--lora x.safetensors --lora-scale -1"},
      {"owner/repo:0.8", "--lora owner/repo --lora-scale 0.8"},
      {"owner/repo:x.safetensors:1e-1", "--lora owner/repo:x.safetensors --lora-scale 1e-1"},
      {"<lora:x:0.8>", "is for a prompt"},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.name);
    try {
      resolve_lora(c.name);
      FAIL("not refused");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::usage);
      CHECK_MESSAGE(contains(error.what(), c.message), error.what());
    }
  }
}

}  // namespace
}  // namespace mflux::hub
