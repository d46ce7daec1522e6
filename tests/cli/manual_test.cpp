// SPDX-License-Identifier: MIT
#include <filesystem>
#include <regex>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/checkpoints.h"
#include "tests/cli/help.h"
#include "tests/program.h"
#include "tests/skip.h"

namespace mflux::cli {
namespace {

using testing::choices;
using testing::contains;
using testing::HelpOption;
using testing::is_installed;
using testing::options_of;
using testing::ProgramRun;
using testing::read_file;
using testing::run_program;
using testing::skip;
using testing::subcommands;
using testing::TempDir;
using testing::tiny_flux;
using testing::write_file;
using testing::write_zeros;

// The pages, written once into a folder.
struct Pages {
  TempDir folder = {};

  Pages() { REQUIRE(run_program({"manual", folder.path().string()}).status == 0); }

  std::string page(const std::string& name) const { return read_file(folder / (name + ".1")); }
};

std::string in_roff(const std::string& name) {
  return "\\fB" + std::regex_replace(name, std::regex("-"), "\\-") + "\\fR";
}

TEST_CASE("every option that --help lists is in its manual page") {
  const Pages pages;
  for (const HelpOption& option : options_of({})) {
    for (const std::string& name : option.names)
      CHECK(contains(pages.page("mflux"), in_roff(name)));
  }
  for (const std::string& command : subcommands()) {
    const std::string page = pages.page("mflux-" + command);
    for (const HelpOption& option : options_of({command})) {
      CAPTURE(command);
      for (const std::string& name : option.names)
        CHECK_MESSAGE(contains(page, in_roff(name)), name);
    }
    CHECK(contains(pages.page("mflux"), "\n" + in_roff(command) + "\n"));
  }
}

TEST_CASE("every manual page has examples, every exit status, and each name of the program") {
  const Pages pages;
  for (const std::string& command : subcommands()) {
    CAPTURE(command);
    const std::string page = pages.page("mflux-" + command);
    CHECK(contains(page, ".SH EXAMPLES\n"));
    CHECK(contains(page, in_roff("mflux " + command)));
    for (const char* status : {"0", "1", "2", "3", "4", "130"}) {
      CHECK_MESSAGE(contains(page, ".TP\n\\fB" + std::string(status) + "\\fR\n"), status);
    }
  }
  CHECK(contains(pages.page("mflux-save"), "mflux\\-save, mflux\\-save\\-qwen \\- bake LoRAs"));
  CHECK(pages.page("mflux-save-qwen") == pages.page("mflux-save"));
}

TEST_CASE("the pages of the program's other names can be left out") {
  const TempDir folder;
  const std::string pages = (folder / "man1").string();
  CHECK(run_program({"manual", pages, "--without-names"}).status == 0);
  CHECK(std::filesystem::exists(pages + "/mflux-save.1"));  // the page of mflux save
  CHECK(!std::filesystem::exists(pages + "/mflux-save-qwen.1"));
  CHECK(contains(read_file(pages + "/mflux-save.1"), "mflux\\-save \\- bake LoRAs"));
}

TEST_CASE("no text of a manual page is taken for a request, a quote or a macro") {
  const Pages pages;
  const std::regex request(R"(^\.(\\" .*|TH .*|SH .*|SS .*|TP|PP|RS 4|RE|nf|fi|br|BR .*)$)");
  for (const auto& entry : std::filesystem::directory_iterator(pages.folder.path())) {
    const ProgramRun page{.out = read_file(entry.path())};
    for (const std::string& line : page.lines()) {
      CAPTURE(line);
      CHECK_FALSE(line.starts_with('\''));
      if (line.starts_with('.')) CHECK(std::regex_match(line, request));
      // Every backslash begins an escape that is meant.
      CHECK(std::regex_match(
          line, std::regex(R"(^(\.\\".*|([^\\]|\\(fB|fI|fR|-|e|&|\((aq|dq|ga|ha|ti)))*)$)")));
    }
  }
}

TEST_CASE("manual pages render without a warning") {
  if (!is_installed("groff")) return skip("groff is not installed");
  const Pages pages;
  for (const auto& entry : std::filesystem::directory_iterator(pages.folder.path())) {
    CAPTURE(entry.path().string());
    const ProgramRun run =
        run_program({"-man", "-ww", "-Tascii", "-P-cbou", entry.path().string()}, "groff");
    CHECK(run.status == 0);
    CHECK(run.err == "");
    CHECK(contains(run.out, "\nSEE ALSO\n"));
  }
}

TEST_CASE("every choice that --help shows is taken, and no other") {
  const TempDir folder;
  write_zeros(folder / "flux/transformer/model.safetensors", tiny_flux());
  const auto status = [&](const std::string& name, const std::string& choice) {
    std::vector<std::string> arguments = {
        "save", "--model", (folder / "flux").string(), "--dry-run", name, choice};
    // A group of 16 is nvfp4's.
    if (name == "--q-group-size") {
      const std::string mode = choice == "16" ? "nvfp4" : "affine";
      arguments.insert(arguments.end(), {"--q-mode", mode, "--quantize", "4"});
    }
    return run_program(arguments).status;
  };
  size_t tried = 0;
  for (const HelpOption& option : options_of({"save"})) {
    if (!contains(option.value, "|")) continue;
    const std::string name = option.names.back();
    CAPTURE(name);
    for (const std::string& choice : choices(option.value))
      CHECK_MESSAGE(status(name, choice) == 0, choice);
    CHECK(status(name, "7") == 2);
    ++tried;
  }
  CHECK(tried == 6);
}

TEST_CASE("a folder for manual pages that cannot be made is an error") {
  const TempDir folder;
  write_file(folder / "file", "");
  const ProgramRun run = run_program({"manual", (folder / "file/man1").string()});
  CHECK(run.status == 1);
  CHECK(contains(run.err, "mflux: error: "));
}

}  // namespace
}  // namespace mflux::cli
