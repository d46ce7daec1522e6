// SPDX-License-Identifier: MIT
#include "mflux/job.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <string>

#include <doctest/doctest.h>

#include "mflux/base/error.h"
#include "tests/folders.h"
#include "tests/tiny_save.h"
#include "tests/verifies.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::contents_of;
using testing::differences;
using testing::TinyFamily;
using testing::TinyLora;
using testing::TinySave;

// Five ways to save one model.
struct Variants : TinySave {
  Variants() {
    testing::write_tiny_lora(
        folder / "other.safetensors", TinyFamily::flux, TinyLora::kohya, kSize);
    options_.push_back(options("eight"));
    options_.push_back(options("weaker"));
    options_.back().loras.front().scale = 0.25;
    options_.push_back(options("both"));
    options_.back().loras.push_back({.name = path("other.safetensors"), .scale = 0.5});
    options_.push_back(options("four"));
    options_.back().bits = 4;
    options_.push_back(options("plain"));
    options_.back().loras = {};
    options_.push_back(options("diffusers"));
    options_.back().bits = {};
    options_.back().layout = Layout::diffusers;
    for (SaveOptions& each : options_) each.max_shard_bytes = 300'000;
  }

  JobOptions job(bool share) const {
    return {.model = path("model"), .outputs = options_, .share = share};
  }

  std::vector<SaveOptions> options_ = {};
};

TEST_CASE("outputs of a job that shares nothing have the bytes of saves of their own") {
  const Variants tiny;
  const JobReport report = save_job(tiny.job(false));
  REQUIRE(report.outputs.size() == tiny.options_.size());
  CHECK(report.shared_shards == 0);
  for (SaveOptions alone : tiny.options_) {
    const fs::path together = alone.output;
    CAPTURE(together);
    alone.output = tiny.folder / "alone";
    alone.overwrite = true;
    save(alone);
    CHECK(differences(contents_of(alone.output), contents_of(together)).empty());
  }
}

TEST_CASE("outputs of a job that shares verify on their own, and hold what saves of their own do") {
  const Variants tiny;
  const JobReport report = save_job(tiny.job(true));
  CHECK(report.shared_shards > 0);
  CHECK(report.shared_bytes > 0);
  for (SaveOptions alone : tiny.options_) {
    const fs::path together = alone.output;
    CAPTURE(together);
    CHECK(testing::verifies(alone));
    alone.output = tiny.folder / "alone";
    alone.overwrite = true;
    save(alone);
    const auto tensors = [](const fs::path& folder) {
      std::map<std::string, std::string> result;
      for (const char* component : {"transformer", "text_encoder", "text_encoder_2", "vae"}) {
        const auto opened = safetensors::open_folder(folder / component);
        for (const auto& tensor : opened.tensors) {
          std::string data(tensor.info.bytes, '\0');
          opened.files[tensor.file].file.read(
              tensor.info.offset, std::as_writable_bytes(std::span(data)));
          result[component + ("/" + tensor.info.name)] = data;
        }
      }
      return result;
    };
    CHECK(tensors(alone.output) == tensors(together));
  }
}

TEST_CASE("shards of a job that no LoRA touches are the same file, or one with the same bytes") {
  const Variants tiny;
  save_job(tiny.job(true));
  size_t same = 0;
  for (const auto& [file, bytes] : contents_of(tiny.folder / "eight")) {
    if (!file.ends_with(".safetensors")) continue;
    const fs::path other = tiny.folder / "weaker" / file;
    REQUIRE(fs::exists(other));
    if (testing::read_file(other) == bytes) ++same;
  }
  CHECK(same > 0);
  const JobPlan plan = plan_job(tiny.job(true));
  for (const auto& [shard, from] : plan.outputs[1].shared) {
    CHECK(from == 0);
    const std::string& file = plan.outputs[1].plan.shards[shard].file;
    CHECK(
        testing::read_file(tiny.folder / "eight" / file) ==
        testing::read_file(tiny.folder / "weaker" / file));
  }
  CHECK(plan.outputs[1].shared.size() == same);
  CHECK(plan.outputs[3].shared.empty());  // the only one at 4 bits
}

TEST_CASE("a job reads the model once, however many outputs it has") {
  const Variants tiny;
  const SaveReport alone = save(tiny.options("alone"));
  const JobReport report = save_job(tiny.job(true));
  for (const SaveReport& output : report.outputs) CHECK(output.source_bytes == alone.source_bytes);
}

TEST_CASE("a job is refused as a whole if one output keeps too little of a LoRA") {
  const Variants tiny;
  JobOptions job = tiny.job(true);
  job.outputs[1].bits = {};
  job.outputs[1].min_kept = 0.5;
  job.outputs[1].loras.front().scale = 1e-6;
  const auto before = contents_of(tiny.folder.path());
  try {
    save_job(job);
    FAIL("not refused");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::lora);
    CHECK(contains(error.what(), "--min-kept asks for 0.5000"));
  }
  CHECK(differences(before, contents_of(tiny.folder.path())).empty());
}

TEST_CASE("a misfit in one output is told with its folder, before anything is written") {
  const Variants tiny;
  testing::write_tiny_lora(
      tiny.folder / "misfit.safetensors", TinyFamily::flux, TinyLora::misfit, TinySave::kSize);
  JobOptions job = tiny.job(true);
  job.outputs[2].loras.push_back({.name = tiny.path("misfit.safetensors")});
  const auto before = contents_of(tiny.folder.path());
  try {
    save_job(job);
    FAIL("not refused");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::lora);
    CHECK(contains(error.what(), tiny.path("both") + ": "));
  }
  CHECK(differences(before, contents_of(tiny.folder.path())).empty());
}

TEST_CASE("outputs that collide, or do not fit into the memory, are wrong usage") {
  const Variants tiny;
  const auto message = [&](auto change) -> std::string {
    JobOptions job = tiny.job(true);
    change(job);
    try {
      plan_job(job);
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::usage);
      return error.what();
    }
    return "";
  };
  CHECK(contains(message([](JobOptions& job) { job.outputs = {}; }), "no output"));
  CHECK(contains(message([](JobOptions& job) { job.outputs[1].output = ""; }), "has no path"));
  CHECK(contains(
      message([&](JobOptions& job) { job.outputs[1].output = tiny.folder / "x/../eight/"; }),
      "two outputs of the job"));
  CHECK(contains(
      message([&](JobOptions& job) { job.outputs[1].output = tiny.folder / "eight/in"; }),
      "is inside another"));
  for (const char* name : {"EIGHT", "x/../Eight/", "eighT"}) {
    CAPTURE(name);
    CHECK(contains(
        message([&](JobOptions& job) { job.outputs[1].output = tiny.folder / name; }),
        "differ only in case"));
  }
  CHECK(contains(
      message([&](JobOptions& job) { job.outputs[1].output = tiny.folder / "EIGHT/in"; }),
      "is inside another"));
  CHECK(contains(message([](JobOptions& job) { job.max_memory = 16 << 20; }), "MiB for 6 outputs"));
}

TEST_CASE("a job that is told to stop ends as interrupted and leaves nothing") {
  const Variants tiny;
  const auto before = contents_of(tiny.folder.path());
  std::atomic<bool> stop = false;
  SaveEvents events{.stop = &stop};
  events.log = [&](std::string_view line) {
    if (contains(std::string(line), "Writing shard")) stop = true;
  };
  CHECK_THROWS_AS(save_job(tiny.job(true), events), Error);
  CHECK(differences(before, contents_of(tiny.folder.path())).empty());
}

TEST_CASE("a job that ended between its last steps is found to be done") {
  const Variants tiny;
  SaveEvents events = {};
  events.headline = [&](std::string_view line) {
    if (contains(std::string(line), tiny.path("weaker") + ": Created ")) fail("killed here");
  };
  CHECK_THROWS_AS(save_job(tiny.job(true), events), Error);
  const fs::path journal = tiny.folder / "eight/.mflux-save.json";
  REQUIRE(fs::exists(journal));
  CHECK_FALSE(fs::exists(tiny.folder / "plain/.mflux-save.json"));
  const JobReport report = save_job(tiny.job(true));
  CHECK(report.was_done);
  REQUIRE(report.outputs.size() == tiny.options_.size());
  CHECK(report.outputs[0].receipt.loras.size() == 1);
  CHECK_FALSE(fs::exists(journal));
  for (const SaveOptions& options : tiny.options_) CHECK(testing::verifies(options));
}

}  // namespace
}  // namespace mflux
