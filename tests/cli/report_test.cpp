// SPDX-License-Identifier: MIT
#include <filesystem>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mflux/image/png.h"
#include "tests/folders.h"
#include "tests/program.h"
#include "tests/tiny_save.h"

namespace mflux::cli {
namespace {

using testing::contains;
using testing::ProgramRun;
using testing::read_file;
using testing::run_program;
using testing::TinySave;

struct Saved {
  TinySave tiny = TinySave();
  std::string out = tiny.path("out");

  Saved() { save(tiny.options()); }
};

TEST_CASE("a report lies beside the folder, which stays as it is") {
  const Saved saved;
  const auto before = testing::contents_of(saved.out);
  const ProgramRun run = run_program({"report", saved.out + "/"});
  CHECK_MESSAGE(run.status == 0, run.err);
  CHECK(contains(run.out, "1 LoRA merged into 20 layers of a FLUX.1"));
  CHECK(contains(run.out, "Wrote "));
  CHECK(testing::differences(before, testing::contents_of(saved.out)).empty());
  const std::string page = read_file(saved.tiny.folder / "out-report.html");
  CHECK(page.starts_with("<!DOCTYPE html>"));
  CHECK(run_program({"report", saved.out}).status == 0);
  CHECK(read_file(saved.tiny.folder / "out-report.html") == page);
}

TEST_CASE("a report goes where it is asked to, but not into the folder it is about") {
  const Saved saved;
  const std::string page = saved.tiny.path("page.html");
  CHECK(run_program({"report", saved.out, "-o", page}).status == 0);
  CHECK(std::filesystem::exists(page));
  for (const std::string inside : {"/page.html", "/../out/vae/page.html"}) {
    const ProgramRun run = run_program({"report", saved.out, "-o", saved.out + inside});
    CHECK(run.status == 2);
    CHECK(contains(run.err, "lies in the saved folder"));
  }
  const ProgramRun run = run_program({"report", saved.out, "-o", saved.tiny.path("no/page.html")});
  CHECK(run.status == 1);
  CHECK(contains(run.err, "no/page.html"));
}

TEST_CASE("--json tells the facts of the page in one line") {
  const Saved saved;
  for (const char* column : {"base", "baked"}) {
    std::filesystem::create_directories(saved.tiny.folder / "shots" / column);
    write_png(
        saved.tiny.folder / "shots" / column / "fox.png",
        {12, 16, std::vector<uint8_t>(576, column == std::string("base") ? 10 : 20)},
        {});
  }
  const ProgramRun run = run_program(
      {"report",
       saved.out,
       "--json",
       "--images",
       saved.tiny.path("shots"),
       "--columns",
       "base,baked"});
  REQUIRE_MESSAGE(run.status == 0, run.err);
  REQUIRE(run.lines().size() == 1);
  const auto json = nlohmann::json::parse(run.out);
  CHECK(json["event"] == "report");
  CHECK(json["baked"] == 20);
  CHECK(json["warnings"].empty());
  CHECK(json["mean_kept"].get<double>() > 0.98);
  CHECK(json["sizes"][0]["component"] == "transformer");
  CHECK(json["loras"][0]["skipped"].empty());
  CHECK(json["pictures"][0]["reference"] == true);
  CHECK_FALSE(json["pictures"][0].contains("mean_ssim"));
  CHECK(json["pictures"][1]["column"] == "baked");
  CHECK(json["pictures"][1]["pictures"][0]["psnr_db"] == json["pictures"][1]["mean_psnr_db"]);
}

TEST_CASE("a report that cannot be made leaves no page and has the usual status") {
  const Saved saved;
  const auto refused = [&](std::vector<std::string> arguments, int status, const char* message) {
    arguments.insert(arguments.begin(), "report");
    const ProgramRun run = run_program(arguments);
    CHECK(run.status == status);
    CHECK_MESSAGE(contains(run.err, message), run.err);
  };
  refused({saved.tiny.path("model")}, 1, "model/bake.json: no such file");
  refused({saved.out, "--images", saved.tiny.path("none")}, 1, "none: no such folder");
  refused({saved.out, "--reference", "base"}, 2, "--columns and --reference are for --images");
  refused({saved.out, "--images", saved.tiny.path("model"), "--columns", "x"}, 2, "no folder 'x'");
  CHECK_FALSE(std::filesystem::exists(saved.tiny.folder / "out-report.html"));
}

}  // namespace
}  // namespace mflux::cli
