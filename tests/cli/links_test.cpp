// SPDX-License-Identifier: MIT
// Models whose files are links, as the Hugging Face cache and people with several disks have them:
// read through, copied as files, and nothing outside the output is touched.
#include <filesystem>

#include <doctest/doctest.h>

#include "tests/folders.h"
#include "tests/process.h"
#include "tests/tiny_save.h"

namespace mflux::testing {
namespace {

namespace fs = std::filesystem;

// Turns every file of `folder` into a relative link to a blob, as huggingface_hub does.
void link_to_blobs(const fs::path& folder, const fs::path& blobs) {
  fs::create_directories(blobs);
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  for (const fs::path& file : files) {
    const fs::path blob = blobs / fmt::format("{:040x}", std::hash<std::string>()(file.string()));
    fs::rename(file, blob);
    fs::permissions(blob, fs::perms::owner_read);
    fs::create_symlink(fs::relative(blob, file.parent_path()), file);
  }
}

bool holds_a_link(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_symlink()) return true;
  }
  return false;
}

struct Linked {
  Linked() {
    const ProgramRun run = run_program(ProgramCall{.arguments = tiny.arguments("plain")});
    REQUIRE(run.status == 0);
    plain = contents_of(tiny.path("plain"));
  }

  // A save of `model` gives what the plain folder gave and changes nothing else.
  void check_save(const std::string& model, const std::string& cache = "") const {
    const FolderContents before = contents_of(tiny.folder.path());
    std::vector<std::string> arguments = tiny.arguments("out");
    arguments[2] = model;
    const ProgramRun run =
        run_program(ProgramCall{.arguments = arguments, .environment = {{"HF_HUB_CACHE", cache}}});
    CAPTURE(run.err);
    REQUIRE(run.status == 0);
    CHECK(differences(plain, contents_of(tiny.path("out"))).empty());
    CHECK_FALSE(holds_a_link(tiny.path("out")));
    const ProgramRun verified = run_program(ProgramCall{.arguments = {"verify", tiny.path("out")}});
    CHECK(verified.status == 0);
    fs::remove_all(tiny.path("out"));
    CHECK(differences(before, contents_of(tiny.folder.path())).empty());
  }

  // A save is refused with `status` and `part`; nothing at all changes.
  void check_refused(
      const std::vector<std::string>& arguments, int status, const std::string& part) const {
    const FolderContents before = contents_of(tiny.folder.path());
    const ProgramRun run = run_program(ProgramCall{.arguments = arguments});
    CAPTURE(run.err);
    CHECK(run.status == status);
    CHECK(contains(run.err, part));
    CHECK(differences(before, contents_of(tiny.folder.path())).empty());
  }

  TinySave tiny{TinyFamily::flux};
  FolderContents plain = {};
};

TEST_CASE("a model by name from a Hugging Face cache is saved as its files would be") {
  const Linked linked;
  const fs::path root = linked.tiny.folder / "cache/models--black-forest-labs--FLUX.1-dev";
  const std::string revision(40, '7');
  fs::create_directories(root / "snapshots");
  fs::create_directories(root / "refs");
  write_file(root / "refs/main", revision);
  fs::rename(linked.tiny.path("model"), root / "snapshots" / revision);
  link_to_blobs(root / "snapshots" / revision, root / "blobs");
  linked.check_save("dev", linked.tiny.path("cache"));
  linked.check_save((root / "snapshots" / revision).string());
}

TEST_CASE("folders of a model may be links, near or far, and so may the model") {
  const Linked linked;
  const TinySave& tiny = linked.tiny;
  const fs::path model = tiny.folder / "model";
  fs::create_directories(tiny.folder / "store");
  for (const char* name : {"tokenizer", "transformer", "vae"}) {
    fs::rename(model / name, tiny.folder / "store" / name);
  }
  fs::create_symlink(tiny.folder / "store/tokenizer", model / "tokenizer");
  fs::create_symlink("../store/transformer", model / "transformer");
  fs::create_symlink("../store/../store/vae", model / "vae");
  linked.check_save(model.string());
  fs::create_symlink("model", tiny.folder / "link");
  linked.check_save(tiny.path("link"));
  linked.check_save(tiny.path("link/"));
}

TEST_CASE("a link that leads nowhere or in a circle is refused, by its name") {
  for (const auto& [name, target] : std::vector<std::pair<std::string, std::string>>{
           {"tokenizer/gone.json", "../../blobs/123"},
           {"tokenizer_2/circle", "../tokenizer_2"},
           {"scheduler/again", "."},
           {"text_encoder_2/generation_config.json", "nowhere"}}) {
    CAPTURE(name);
    const Linked linked;
    fs::create_symlink(target, linked.tiny.folder / "model" / name);
    linked.check_refused(linked.tiny.arguments(), 1, name + ": a link ");
  }
}

TEST_CASE("an output where a link of the model leads to, or around it, is refused") {
  const Linked linked;
  const TinySave& tiny = linked.tiny;
  fs::create_directories(tiny.folder / "old");
  fs::rename(tiny.folder / "model/transformer", tiny.folder / "old/transformer");
  fs::create_symlink("../old/transformer", tiny.folder / "model/transformer");
  linked.check_refused(tiny.arguments("old/transformer/out"), 2, "inside the input");
  linked.check_refused(
      tiny.arguments("old") + std::vector<std::string>{"--overwrite"}, 2, "is inside the output");
}

TEST_CASE("a single shard that is a link counts as an input where it leads to") {
  const Linked linked;
  const TinySave& tiny = linked.tiny;
  fs::create_directories(tiny.folder / "old/transformer");
  const std::string vae = "vae/diffusion_pytorch_model.safetensors";
  fs::rename(tiny.folder / "model" / vae, tiny.folder / "old/transformer/x.safetensors");
  fs::create_symlink("../../old/transformer/x.safetensors", tiny.folder / "model" / vae);
  linked.check_refused(
      tiny.arguments("old") + std::vector<std::string>{"--overwrite"}, 2, "is inside the output");
}

}  // namespace
}  // namespace mflux::testing
