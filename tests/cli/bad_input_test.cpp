// SPDX-License-Identifier: MIT
// What people get wrong, and what happens to files: a message that names the culprit, the right
// status, and an output folder as it was.
#include <unistd.h>

#include <filesystem>
#include <limits>

#include <doctest/doctest.h>

#include "tests/folders.h"
#include "tests/process.h"
#include "tests/skip.h"
#include "tests/tiny_save.h"

namespace mflux::testing {
namespace {

namespace fs = std::filesystem;

constexpr const char* kShard = "transformer/diffusion_pytorch_model-00001-of-00002.safetensors";
constexpr const char* kIndex = "transformer/diffusion_pytorch_model.safetensors.index.json";

// Runs the arguments; the save must end with `status`, say all of `parts`, and leave no output.
void check_refused(
    const TinySave& tiny,
    const std::vector<std::string>& arguments,
    int status,
    const std::vector<std::string>& parts) {
  const ProgramRun run = run_program(ProgramCall{.arguments = arguments});
  CAPTURE(run.err);
  CHECK(run.status == status);
  for (const std::string& part : parts) {
    CAPTURE(part);
    CHECK(contains(run.err, part));
  }
  CHECK_FALSE(fs::exists(tiny.path("out")));
}

std::vector<std::string> save_of(const TinySave& tiny, const std::string& model) {
  return {"save", "--model", model, "--path", tiny.path("out"), "-q", "8"};
}

std::vector<std::string> save_with(const TinySave& tiny, const std::string& lora) {
  return save_of(tiny, tiny.path("model")) + std::vector<std::string>{"--lora", lora};
}

TEST_CASE("a model that is not there, or is nothing, is named") {
  const TinySave tiny;
  fs::create_directory(tiny.folder / "empty");
  write_file(
      tiny.folder / "text.safetensors", "this is no safetensors file, but long enough for one");
  check_refused(tiny, save_of(tiny, tiny.path("nowhere")), 1, {"nowhere"});
  check_refused(tiny, save_of(tiny, tiny.path("empty")), 1, {tiny.path("empty")});
  check_refused(tiny, save_of(tiny, tiny.path("text.safetensors")), 1, {"text.safetensors"});
}

TEST_CASE("a truncated shard is named, with the tensor that is cut off") {
  const TinySave tiny;
  const fs::path shard = tiny.folder / "model" / kShard;
  fs::resize_file(shard, fs::file_size(shard) - 1);
  check_refused(
      tiny,
      tiny.arguments(),
      1,
      {kShard, "tensor '", "ends at data byte", "but the file has", "incomplete download"});
}

TEST_CASE("an index that names a missing file or one outside is refused") {
  const TinySave tiny;
  SUBCASE("missing") {
    fs::remove(tiny.folder / "model" / kShard);
    check_refused(
        tiny, tiny.arguments(), 1, {"diffusion_pytorch_model-00001-of-00002.safetensors"});
  }
  SUBCASE("outside") {
    const fs::path index = tiny.folder / "model" / kIndex;
    fs::copy_file(tiny.folder / "model" / kShard, tiny.folder / "model" / "outside.safetensors");
    replace_in(
        index, "\"diffusion_pytorch_model-00001-of-00002.safetensors", "\"../outside.safetensors");
    check_refused(tiny, tiny.arguments(), 1, {"index.json", "../outside.safetensors"});
  }
}

TEST_CASE("a model of another family than the command's is wrong usage") {
  const TinySave tiny;
  const fs::path link = tiny.folder / "mflux-save-qwen";
  fs::create_symlink(fs::absolute(MFLUX_PROGRAM), link);
  const ProgramRun run = run_program(ProgramCall{
      .arguments = {"--model", tiny.path("model"), "--path", tiny.path("out")},
      .program = {link.string()}});
  CAPTURE(run.err);
  CHECK(run.status == 2);
  CHECK(contains(run.err, "FLUX.1"));
  CHECK(contains(run.err, "Qwen-Image"));
  CHECK_FALSE(fs::exists(tiny.path("out")));
}

TEST_CASE("a LoRA that is missing, of another model, or of other shapes is refused") {
  const TinySave tiny;
  check_refused(tiny, save_with(tiny, tiny.path("none.safetensors")), 1, {"none.safetensors"});
  const fs::path other = tiny.folder / "other.safetensors";
  write_tiny_lora(other, TinyFamily::qwen, TinyLora::peft, TinySave::kSize);
  check_refused(tiny, save_with(tiny, other.string()), 3, {"other.safetensors", "Qwen-Image"});
  const fs::path misfit = tiny.folder / "misfit.safetensors";
  write_tiny_lora(misfit, TinyFamily::flux, TinyLora::misfit, TinySave::kSize);
  check_refused(
      tiny, save_with(tiny, misfit.string()), 3, {"Cannot merge", "delta (", "!= base ("});
}

TEST_CASE("a NaN in a LoRA is refused by the name of its tensor") {
  const TinySave tiny;
  std::vector<float> values(4 * 64, 0.01F);
  values[7] = std::numeric_limits<float>::quiet_NaN();
  const std::string module = "transformer.transformer_blocks.0.attn.to_q";
  write_safetensors(
      tiny.folder / "nan.safetensors",
      {f32_tensor(module + ".lora_A.weight", {4, 64}, values),
       f32_tensor(module + ".lora_B.weight", {64, 4}, std::vector<float>(4 * 64, 0.01F))});
  check_refused(
      tiny, save_with(tiny, tiny.path("nan.safetensors")), 3, {"nan.safetensors", module});
}

TEST_CASE("options that contradict each other are wrong usage") {
  const TinySave tiny;
  const auto with = [&](const std::vector<std::string>& more) { return tiny.arguments() + more; };
  check_refused(tiny, with({"--lora-scale", "1", "2"}), 2, {"1 LoRA", "2 scale"});
  check_refused(tiny, with({"--layout", "diffusers"}), 2, {"--layout"});
  check_refused(tiny, with({"--q-mode", "mxfp4", "--q-group-size", "64"}), 2, {"mxfp4"});
  check_refused(tiny, with({"--q-mode", "int8"}), 2, {"int8"});
  check_refused(tiny, with({"--max-shard-size", "big"}), 2, {"big"});
  check_refused(tiny, with({"--min-kept", "2"}), 2, {"--min-kept"});
  std::vector<std::string> seven = save_of(tiny, tiny.path("model"));
  seven.back() = "7";
  check_refused(tiny, seven, 2, {"7 bits"});
}

TEST_CASE("an output inside the input, or one that is full, is left alone") {
  const TinySave tiny;
  const FolderContents before = contents_of(tiny.path("model"));
  const auto save_to = [&](const std::string& output) {
    return run_program(
        ProgramCall{.arguments = {"save", "--model", tiny.path("model"), "--path", output}});
  };
  const ProgramRun inside = save_to(tiny.path("model/transformer/out"));
  CHECK(inside.status == 2);
  CHECK(contains(inside.err, "inside the input"));
  CHECK(differences(before, contents_of(tiny.path("model"))).empty());
  fs::create_directory(tiny.folder / "full");
  write_file(tiny.folder / "full" / "mine.txt", "mine");
  const ProgramRun full = save_to(tiny.path("full"));
  CHECK(full.status == 2);
  CHECK(contains(full.err, "--overwrite"));
  CHECK(contents_of(tiny.path("full")) == FolderContents{{"mine.txt", "mine"}});
}

TEST_CASE("a folder that cannot be written to is named") {
  const TinySave tiny;
  const ProgramRun run = run_program(ProgramCall{
      .arguments = {"save", "--model", tiny.path("model"), "--path", "/proc/mflux-out"}});
  CAPTURE(run.err);
  CHECK(run.status == 1);
  CHECK(contains(run.err, "/proc"));
}

// Root may read and write everything, unless it gives that up. 127: it cannot here.
ProgramRun run_without_rights(const std::vector<std::string>& arguments) {
  ProgramCall call{.arguments = arguments};
  if (::geteuid() == 0) {
    call.program = {"setpriv", "--bounding-set", "-dac_override,-dac_read_search", MFLUX_PROGRAM};
  }
  return run_program(call);
}

TEST_CASE("a model that cannot be read is named") {
  const TinySave tiny;
  fs::permissions(tiny.folder / "model" / kShard, fs::perms::none);
  const ProgramRun run = run_without_rights(tiny.arguments());
  if (run.status == 127) return skip("setpriv is not installed");
  CAPTURE(run.err);
  CHECK(run.status == 1);
  CHECK(contains(run.err, kShard));
  CHECK_FALSE(fs::exists(tiny.path("out")));
}

TEST_CASE("a folder where nothing may be written is refused before the first byte") {
  const TinySave tiny;
  for (const bool replaces : {false, true}) {
    CAPTURE(replaces);
    const std::string parent = replaces ? "full" : "empty";
    fs::create_directories(tiny.folder / parent / (replaces ? "out/transformer" : ""));
    if (replaces) write_file(tiny.folder / parent / "out/bake.json", "{}");
    fs::permissions(tiny.folder / parent, fs::perms::owner_read | fs::perms::owner_exec);
    const FolderContents before = contents_of(tiny.folder.path());
    const ProgramRun run = run_without_rights(
        tiny.arguments(parent + "/out") + std::vector<std::string>{"--overwrite"});
    if (run.status == 127) return skip("setpriv is not installed");
    CAPTURE(run.err);
    CHECK(run.status == 1);
    CHECK(contains(run.err, parent + ": the folder is not writable"));
    CHECK(differences(before, contents_of(tiny.folder.path())).empty());
    fs::permissions(tiny.folder / parent, fs::perms::owner_all);
  }
}

TEST_CASE("a disk without room is refused before the first byte") {
  const TinySave tiny;
  const std::string disk = tiny.path("disk");
  fs::create_directory(disk);
  // A small disk; it must stay empty. Root may mount it, others in a namespace of their own.
  constexpr int kNoDisk = 77;
  const std::string script = fmt::format(
      "mount -t tmpfs -o size=64k tmpfs {0} || exit {1}; \"$@\"; status=$?; ls -A {0}; umount {0}; "
      "exit $status",
      disk,
      kNoDisk);
  std::vector<std::string> program = {"sh", "-c", script, "sh", MFLUX_PROGRAM};
  if (::geteuid() != 0) program = std::vector<std::string>{"unshare", "-rm"} + program;
  const ProgramRun run = run_program(ProgramCall{
      .arguments = {"save", "--model", tiny.path("model"), "--path", disk + "/out"},
      .program = program});
  CAPTURE(run.err);
  if (run.status == 127 || run.status == kNoDisk || contains(run.err, "unshare failed")) {
    return skip("a small disk cannot be mounted: " + run.err);
  }
  CHECK(run.status == 1);
  CHECK(contains(run.err, "space"));
  CHECK(run.out.empty());
}

}  // namespace
}  // namespace mflux::testing
