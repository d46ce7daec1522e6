// SPDX-License-Identifier: MIT
// `mflux save --job`: good files, bad files, and a job that is killed.
#include <csignal>
#include <filesystem>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/folders.h"
#include "tests/process.h"
#include "tests/tiny_save.h"

namespace mflux::testing {
namespace {

namespace fs = std::filesystem;

constexpr TinySize kSize{.hidden = 256, .blocks = 2, .shards = 2};

struct Job : TinySave {
  explicit Job(const TinySize& size = TinySave::kSize) : TinySave(TinyFamily::flux, size) {}

  // Of two outputs; `where` is a folder for them.
  std::string text(std::string_view where = "out") const {
    const std::string lora = path("lora.safetensors");
    return "model = \"" + path("model") + "\"\n" +                  // 1
           "\n[defaults]\n" +                                       // 3
           "quantize = 8\n" +                                       // 4
           "max-shard-size = \"200kB\"\n" +                         // 5
           "\n[[output]]\n" +                                       // 7
           "path = \"" + path(where) + "/full\"\n" +                // 8
           "lora = \"" + lora + "\"\n" +                            // 9
           "\n[[output]]\n" +                                       // 11
           "path = \"" + path(where) + "/half\"\n" +                // 12
           "lora = [{ file = \"" + lora + "\", scale = 0.5 }]\n" +  // 13
           "rounding = \"delta\"\n";                                // 14
  }

  std::vector<std::string> arguments(const std::string& job) const {
    write_file(folder / "job.toml", job);
    return {"save", "--job", path("job.toml")};
  }
};

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

TEST_CASE("a job file saves its outputs, and each verifies") {
  const Job job;
  const ProgramRun run = run_program(job.arguments(job.text()));
  CAPTURE(run.err);
  REQUIRE(run.status == 0);
  CHECK(contains(run.out, "2 outputs in"));
  for (const auto& [name, scale] : {std::pair{"full", "1"}, std::pair{"half", "0.5"}}) {
    const ProgramRun verified = run_program(
        {"verify",
         job.path("out") + "/" + name,
         "--base",
         job.path("model"),
         "--lora",
         job.path("lora.safetensors"),
         "--lora-scale",
         scale});
    CAPTURE(verified.out);
    CHECK(verified.status == 0);
  }
}

TEST_CASE("the plan of a job is printed as text or JSON, and nothing is written") {
  const Job job;
  const auto arguments = job.arguments(job.text());
  const ProgramRun text = run_program(arguments + std::vector<std::string>{"--dry-run"});
  REQUIRE(text.status == 0);
  CHECK(contains(text.out, job.path("out") + "/half: "));
  const ProgramRun json = run_program(arguments + std::vector<std::string>{"--dry-run", "--json"});
  REQUIRE(json.status == 0);
  size_t outputs = 0;
  for (const std::string& line : json.lines())
    outputs += nlohmann::json::parse(line).at("event") == "output" ? 1U : 0U;
  CHECK(outputs == 2);
  CHECK_FALSE(fs::exists(job.path("out")));
}

TEST_CASE("what is wrong in a job file is told with its line, its key and what is expected") {
  const Job job;
  const auto message = [&](const std::string& from, const std::string& to) {
    const ProgramRun run = run_program(job.arguments(replaced(job.text(), from, to)));
    CAPTURE(to);
    CAPTURE(run.err);
    CHECK(run.status == 2);
    CHECK_FALSE(fs::exists(job.path("out")));
    return run.err;
  };
  CHECK(contains(
      message("quantize = 8", "quantize = 7"),
      "job.toml:4: quantize is 7, expected 2, 3, 4, 5, 6, 8 or \"none\""));
  CHECK(contains(message("quantize = 8", "quantise = 8"), "job.toml:4: unknown key quantise"));
  CHECK(contains(message("quantize = 8", "quantize 8"), "job.toml:4: not TOML"));
  CHECK(contains(message("\"200kB\"", "\"big\""), "job.toml:5: max-shard-size is \"big\""));
  CHECK(contains(
      message("[defaults]", "[defaults]\npath = \"x\""), "path in [defaults], expected one"));
  CHECK(contains(
      message("[[output]]\npath", "[[output]]\n# path"), "job.toml:7: this output has no path"));
  CHECK(
      contains(message("scale = 0.5", "scale = \"half\""), "job.toml:13: lora.scale is \"half\""));
  CHECK(contains(message("scale = 0.5", "scael = 0.5"), "job.toml:13: unknown key lora.scael"));
  CHECK(contains(
      message("\"delta\"", "\"up\""),
      "job.toml:14: rounding is \"up\", expected \"auto\", \"nearest\" or \"delta\""));
  CHECK(contains(message("\"delta\"", "1"), "job.toml:14: rounding is 1"));
  CHECK(
      contains(message("rounding = \"delta\"", "min-kept = 1.5"), "job.toml:14: min-kept is 1.5"));
  CHECK(
      contains(message("rounding = \"delta\"", "q-group-size = 16"), "job.toml:11: this output: "));
  CHECK(contains(message("/half", "/full"), "two outputs of the job"));
  CHECK(contains(message("/half", "/full/half"), "is inside another"));
  CHECK(contains(message("model = ", "modell = "), "job.toml:1: unknown key modell"));
  CHECK(contains(message("model = ", "share = true # "), "no model"));
}

TEST_CASE("no text makes a job end by a signal") {
  const Job job;
  const auto repeated = [](const std::string& text, size_t times) {
    std::string all;
    for (size_t i = 0; i < times; ++i) all += text;
    return all;
  };
  const struct {
    std::string text;
    std::string message;
  } kCases[] = {
      {"[=", ":1: not TOML: a table without a name"},
      {"[[ .", ":1: not TOML: a table without a name"},
      {"a=[}", ":1: not TOML: '}' closes nothing"},
      {"a=[[}b", ":1: not TOML: '}' closes nothing"},
      {"a=1\nb=1979-05-27T", ":2: not TOML: a date or a time"},
      {"a=07:32:00", ":1: not TOML: a date or a time"},
      {repeated("a.", 100'000) + "a=1", ":1: not TOML: keys nested more than 32 deep"},
      {"[" + repeated("a.", 100'000) + "a]", ":1: not TOML: keys nested more than 32 deep"},
      {"a=" + repeated("[", 100'000), ":1: not TOML: brackets nested more than 32 deep"},
      {"a=" + repeated("{a=", 100'000), ":1: not TOML: brackets nested more than 32 deep"},
      {repeated("k=1\n", 100'000), ":20001: not TOML: more than 20000 values"},
      {"a=[" + repeated("0,", 100'000), ":1: not TOML: more than 20000 values"},
      {repeated("#", 1'000'001), ": has 1000001 bytes, expected a job of at most 1000000"},
      {"a=\"[[[\\\"", ":1: not TOML"},
      {"a=\xff", ":1: not TOML"},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.text.substr(0, 20));
    const ProgramRun run = run_program(job.arguments(c.text));
    CHECK(run.status == 2);
    CHECK_MESSAGE(contains(run.err, "job.toml" + c.message), run.err.substr(0, 300));
  }
}

TEST_CASE("brackets, dots and dates within strings and comments are no structure") {
  const Job job;
  const std::string deep(100, '[');
  const std::string text = "# " + deep + " 07:32 }\n" + job.text() + "# it's \"\"\"\n" +
                           "lora = [\n  \"" + job.path("lora.safetensors") + "\", # ] '}\n]\n";
  const ProgramRun run = run_program(
      job.arguments(replaced(text, "lora = [{ file", "# [{ file")) +
      std::vector<std::string>{"--dry-run"});
  CHECK_MESSAGE(run.status == 0, run.err);
  const ProgramRun strings = run_program(job.arguments(
      "model = '''" + deep + "'''\nbase-model = \"" + deep + "} 1979-05-27 \\\" " +
      std::string(100, '.') + "\"\n[[output]]\npath = 'x'\n"));
  CHECK_MESSAGE(!contains(strings.err, "not TOML"), strings.err);
}

TEST_CASE("a job file that is empty or not there is an error, and so are other options beside it") {
  const Job job;
  const ProgramRun empty = run_program(job.arguments("model = \"x\"\n"));
  CHECK(empty.status == 2);
  CHECK(contains(empty.err, "no output, expected [[output]] tables"));
  const ProgramRun missing = run_program({"save", "--job", job.path("none.toml")});
  CHECK(missing.status == 1);
  CHECK(contains(missing.err, "none.toml"));
  const ProgramRun both =
      run_program(job.arguments(job.text()) + std::vector<std::string>{"--quantize", "4"});
  CHECK(both.status == 2);
  CHECK(contains(both.err, "--quantize cannot be used with --job"));
}

// How many finished shards there are under the folder.
size_t shards_in(const fs::path& folder) {
  size_t shards = 0;
  std::error_code gone;
  for (fs::recursive_directory_iterator it(folder, gone), end; !gone && it != end;
       it.increment(gone)) {
    const bool hidden = it->path().filename().string().front() == '.';
    shards += it->path().extension() == ".safetensors" && !hidden ? 1U : 0U;
  }
  return shards;
}

TEST_CASE("a killed job is incomplete, and the same command finishes it with the same bytes") {
  const Job job(kSize);
  REQUIRE(run_program(job.arguments(job.text("whole"))).status == 0);
  const FolderContents whole = contents_of(job.path("whole"));
  const size_t shards = shards_in(job.path("whole"));
  REQUIRE(shards > 8);
  const std::vector<std::string> arguments = job.arguments(job.text("out"));
  for (const size_t moment : {size_t{0}, shards / 4, shards / 2, shards - 2}) {
    CAPTURE(moment);
    fs::remove_all(job.path("out"));
    Process save(ProgramCall{.arguments = arguments});
    wait_until(save, [&] { return shards_in(job.path("out")) >= moment; });
    save.signal(SIGKILL);
    save.wait();
    const ProgramRun again = run_program(arguments);
    CAPTURE(again.err);
    const bool was_complete = contains(again.err, "is not empty");  // killed too late
    CHECK((again.status == 0 || was_complete));
    CHECK(differences(whole, contents_of(job.path("out"))).empty());
  }
}

TEST_CASE("a finished job does not write over its outputs") {
  const Job job;
  const std::vector<std::string> arguments = job.arguments(job.text());
  REQUIRE(run_program(arguments).status == 0);
  const FolderContents whole = contents_of(job.path("out"));
  const ProgramRun full = run_program(arguments);
  CHECK(full.status == 2);
  CHECK(contains(full.err, "is not empty"));
  CHECK(differences(whole, contents_of(job.path("out"))).empty());
}

}  // namespace
}  // namespace mflux::testing
