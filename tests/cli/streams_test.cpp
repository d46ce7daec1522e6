// SPDX-License-Identifier: MIT
// Standard streams that are closed, full, or whose reader goes away: a save goes on, and a result
// that was lost is a failure.
#include <filesystem>

#include <doctest/doctest.h>

#include "tests/folders.h"
#include "tests/process.h"
#include "tests/tiny_save.h"

namespace mflux::testing {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

// The program run by a shell line in which "$@" stands for it; STATUS: a file for its status.
ProgramRun run_in(const std::string& line, const TinySave& tiny, const Words& arguments) {
  const Words shell = {"sh", "-c", "STATUS=$0; " + line, tiny.path("status"), MFLUX_PROGRAM};
  ProgramRun run = run_program(ProgramCall{.arguments = arguments, .program = shell});
  if (fs::exists(tiny.path("status"))) {
    run.status = std::stoi(read_file(tiny.path("status")));
    fs::remove(tiny.path("status"));
  }
  return run;
}

TEST_CASE("a save goes on when nobody reads its log, and no file takes a stream's place") {
  const TinySave tiny;
  REQUIRE(run_program(ProgramCall{.arguments = tiny.arguments("undisturbed")}).status == 0);
  const FolderContents undisturbed = contents_of(tiny.path("undisturbed"));
  for (const std::string line :
       {"\"$@\" 2>&-",
        "\"$@\" 0<&- 2>&-",
        "\"$@\" 2>/dev/full",
        "(\"$@\" 2>&1 >/dev/null; echo $? >$STATUS) | true",
        "(\"$@\" 2>&1 >/dev/null; echo $? >$STATUS) | head -n 1",
        "(sleep 0.2; \"$@\" 2>&1 >/dev/null; echo $? >$STATUS) | true"}) {
    if (contains(line, "/dev/full") && !fs::exists("/dev/full")) continue;
    for (const Words& more : {Words{}, Words{"-v"}}) {
      CAPTURE(line);
      const ProgramRun run = run_in(line, tiny, tiny.arguments("out") + more);
      CHECK(run.status == 0);
      CHECK(contents_of(tiny.path("out")) == undisturbed);
      fs::remove_all(tiny.path("out"));
    }
  }
}

TEST_CASE("a save whose result nobody reads is complete, and says that the result is lost") {
  const TinySave tiny;
  REQUIRE(run_program(ProgramCall{.arguments = tiny.arguments("undisturbed")}).status == 0);
  const FolderContents undisturbed = contents_of(tiny.path("undisturbed"));
  for (const std::string line :
       {"\"$@\" >&-",
        "\"$@\" 0<&- >&- 2>&-",
        "\"$@\" >/dev/full",
        "(sleep 0.2; \"$@\"; echo $? >$STATUS) | true"}) {
    if (contains(line, "/dev/full") && !fs::exists("/dev/full")) continue;
    for (const Words& more : {Words{}, Words{"--json", "-v"}}) {
      CAPTURE(line);
      const ProgramRun run = run_in(line, tiny, tiny.arguments("out") + more);
      CHECK(run.status == 1);
      if (!contains(line, "2>&-")) {
        CHECK(contains(run.err, "mflux: error: standard output: cannot write the results: "));
      }
      CHECK(contents_of(tiny.path("out")) == undisturbed);
      fs::remove_all(tiny.path("out"));
    }
  }
}

TEST_CASE("results that cannot be written are status 1 with every command") {
  const TinySave tiny;
  REQUIRE(run_program(ProgramCall{.arguments = tiny.arguments()}).status == 0);
  const std::string model = tiny.path("model");
  for (const Words& arguments :
       {Words{"--version"},
        {"--help"},
        {"save", "--help"},
        {"completion", "bash"},
        {"inspect", model},
        {"inspect", model, "--tensors", "--json"},
        {"inspect", tiny.path("lora.safetensors")},
        {"save", "--model", model, "--dry-run"},
        {"save", "--model", model, "--dry-run", "--json"},
        {"verify", tiny.path("out")},
        {"verify", tiny.path("out"), "--json"},
        {"compare", model, model},
        {"report", tiny.path("out"), "--json"}}) {
    CAPTURE(arguments.front());
    for (const auto& [line, why] :
         {std::pair<std::string, std::string>{"\"$@\" >&-", "Bad file descriptor"},
          {"\"$@\" >/dev/full", "No space left on device"},
          {"(sleep 0.1; \"$@\"; echo $? >$STATUS) | true", "Broken pipe"}}) {
      if (contains(line, "/dev/full") && !fs::exists("/dev/full")) continue;
      CAPTURE(line);
      const ProgramRun run = run_in(line, tiny, arguments);
      CHECK(run.status == 1);
      CHECK(contains(run.err, "standard output: cannot write the results: " + why));
    }
    CHECK(run_in("\"$@\" >/dev/null 2>&-", tiny, arguments).status == 0);
  }
}

TEST_CASE("a usage error or a difference keeps its status when the results are lost") {
  const TinySave tiny;
  REQUIRE(run_program(ProgramCall{.arguments = tiny.arguments()}).status == 0);
  flip_byte(tiny.path("out/vae/0.safetensors"), 100);
  CHECK(run_in("\"$@\" >&-", tiny, {"verify", tiny.path("out")}).status == 4);
  CHECK(run_in("\"$@\" >&-", tiny, {"save", "--nonsense"}).status == 2);
}

TEST_CASE("everything wrong is said on standard error") {
  const TinySave tiny;
  REQUIRE(run_program(ProgramCall{.arguments = tiny.arguments()}).status == 0);
  const std::string out = tiny.path("out");
  const auto errors = [&](const Words& arguments, int status) {
    const ProgramRun run = run_program(ProgramCall{.arguments = arguments});
    CHECK(run.status == status);
    return run.err;
  };
  CHECK_FALSE(contains(errors({"verify", out}, 0), "error"));
  CHECK_FALSE(contains(errors({"compare", out, out}, 0), "error"));
  CHECK_FALSE(contains(errors({"inspect", out}, 0), "error"));
  flip_byte(out + "/vae/0.safetensors", fs::file_size(out + "/vae/0.safetensors") - 1);
  write_file(out + "/vae/x.bin", "x");
  for (const Words& more : {Words{}, Words{"--json"}}) {
    const std::string verified = errors(Words{"verify", out} + more, 4);
    CHECK(contains(
        verified, "mflux: error: " + out + ": files and hashes: vae/0.safetensors has XXH3-128 "));
    CHECK(contains(
        verified, "mflux: error: " + out + ": nothing else: the receipt does not list vae/x.bin"));
    CHECK(contains(
        errors(Words{"compare", tiny.path("model"), out} + more, 4),
        "mflux: error: " + tiny.path("model") + " and " + out + " differ: "));
  }
  write_file(out + "/bake.json", "{");
  CHECK(contains(errors({"inspect", out}, 0), "bake.json: not a receipt"));
  fs::remove(out + "/vae/0.safetensors");
  CHECK(contains(errors({"inspect", out}, 1), "mflux: error: "));
  CHECK(contains(errors({"save", "--nonsense"}, 2), "--nonsense"));
  CHECK(contains(errors({"save", "--quantize", "x"}, 2), "--quantize"));
  CHECK(contains(errors({}, 2), "subcommand"));
}

}  // namespace
}  // namespace mflux::testing
