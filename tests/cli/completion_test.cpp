// SPDX-License-Identifier: MIT
// The completion scripts, in the shells themselves where these are installed.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/models/family.h"
#include "tests/cli/help.h"
#include "tests/program.h"
#include "tests/skip.h"

namespace mflux::cli {
namespace {

using testing::contains;
using testing::HelpOption;
using testing::is_installed;
using testing::options_of;
using testing::ProgramRun;
using testing::run_program;
using testing::skip;
using testing::subcommands;
using testing::TempDir;
using testing::write_file;

std::string script(const std::string& shell, const std::vector<std::string>& options = {}) {
  std::vector<std::string> arguments = {"completion", shell};
  arguments.insert(arguments.end(), options.begin(), options.end());
  const ProgramRun run = run_program(arguments);
  REQUIRE(run.status == 0);
  return run.out;
}

// A folder with files to offer, and the script of a shell.
struct Desk {
  TempDir folder = {};

  explicit Desk(const std::string& shell, const std::vector<std::string>& options = {}) {
    write_file(folder / "script", script(shell, options));
    std::filesystem::create_directory(folder / "work");
    std::filesystem::create_directory(folder / "work/a folder");
    for (const char* name : {"b.safetensors", "c d.safetensors", "e.png", "f.toml", "g.txt"}) {
      write_file(folder / ("work/" + std::string(name)), "");
    }
  }

  std::vector<std::string> run(const std::string& shell, const std::string& code) const {
    write_file(
        folder / "code",
        "source " + (folder / "script").string() + "\ncd " + (folder / "work").string() + "\n" +
            code);
    const ProgramRun run = run_program({(folder / "code").string()}, shell);
    CHECK(run.err == "");
    CHECK(run.status == 0);
    return run.lines();
  }

  // What bash offers for these words, the last of which is being typed.
  std::vector<std::string> bash(const std::string& words) const {
    return run(
        "bash",
        "COMP_WORDS=(" + words + ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_mflux\n" +
            "for reply in \"${COMPREPLY[@]}\"; do echo \"$reply\"; done\n");
  }

  // What fish offers, without the descriptions.
  std::vector<std::string> fish(const std::string& line) const {
    return run("fish", "complete -C \"" + line + "\" | string replace -r \"\\t.*\" \"\"\ntrue\n");
  }
};

using Words = std::vector<std::string>;

// Files come in the order of the folder.
Words sorted(Words words) {
  std::ranges::sort(words);
  return words;
}

std::string between(const std::string& text, const std::string& begin, const std::string& end) {
  const size_t from = text.find(begin);
  REQUIRE_MESSAGE(from != text.npos, begin);
  return text.substr(from, text.find(end, from) - from);
}

// The scripts of the three shells, to be searched.
struct Scripts {
  std::string bash = between(script("bash"), "_mflux_options() {", "\n}\n");
  std::string zsh = script("zsh");
  Words fish = ProgramRun{.out = script("fish")}.lines();

  void check(const std::string& command, const std::string& name, bool flag) const {
    CAPTURE(command);
    CAPTURE(name);
    const bool is_long = name.starts_with("--");
    const std::string in_bash = between(bash, "    " + command + ") echo '", "' ;;\n") + " ";
    CHECK((contains(in_bash, " " + name + " ") || contains(in_bash, "'" + name + " ")));
    const std::string in_zsh = between(zsh, "\n_mflux_" + command + "() {", "\n}\n");
    CHECK(contains(in_zsh, name + (flag ? "[" : is_long ? "=[" : "+[")));
    const std::string option = is_long ? " -l " + name.substr(2) : " -s " + name.substr(1);
    CHECK(std::ranges::count_if(fish, [&](const std::string& line) {
            return contains(line, "-n '__mflux_command " + command + "' ") &&
                   contains(line + " ", option + " ");
          }) == 1);
  }
};

TEST_CASE("every option that --help lists is in the completion of every shell") {
  const Scripts scripts;
  for (const std::string& command : subcommands()) {
    for (const HelpOption& option : options_of({command})) {
      for (const std::string& name : option.names) {
        scripts.check(command, name, option.value.empty());
      }
    }
  }
}

TEST_CASE("bash completes subcommands, options, choices and files") {
  const Desk desk("bash");
  CHECK(desk.bash("mflux ver") == Words{"verify"});
  CHECK(desk.bash("mflux ''") == subcommands());
  CHECK(desk.bash("mflux --ver") == Words{"--version"});
  CHECK(desk.bash("mflux save --q-m") == Words{"--q-mode"});
  CHECK(desk.bash("mflux save --q-mode ''") == Words{"affine", "mxfp4", "mxfp8", "nvfp4"});
  CHECK(desk.bash("mflux save --q-mode mx") == Words{"mxfp4", "mxfp8"});
  CHECK(desk.bash("mflux save --q-mode = mx") == Words{"mxfp4", "mxfp8"});
  CHECK(desk.bash("mflux save --q-mode =") == Words{"affine", "mxfp4", "mxfp8", "nvfp4"});
  CHECK(desk.bash("mflux save -q ''") == Words{"2", "3", "4", "5", "6", "8"});
  CHECK(sorted(desk.bash("mflux save --job ''")) == Words{"a folder", "f.toml"});
  CHECK(desk.bash("mflux save --path ''") == Words{"a folder"});
  CHECK(desk.bash("mflux verify ''") == Words{"a folder"});
  CHECK(desk.bash("mflux inspect --convert ''") == Words{"diffusers", "kohya", "comfyui"});
  CHECK(desk.bash("mflux completion ''") == Words{"bash", "zsh", "fish"});
  CHECK(desk.bash("mflux save --prompt-less ''").front() == "-h");  // no value is known
}

TEST_CASE("bash goes on completing where an option takes several values") {
  const Desk desk("bash");
  const Words loras = {"a folder", "b.safetensors", "c d.safetensors"};
  CHECK(sorted(desk.bash("mflux save --lora ''")) == loras);
  CHECK(sorted(desk.bash("mflux save --lora b.safetensors ''")) == loras);
  CHECK(desk.bash("mflux save --lora b.safetensors -0.5 c") == Words{"c d.safetensors"});
  CHECK(sorted(desk.bash("mflux inspect --convert kohya ''")) == loras);
}

TEST_CASE("bash knows the other names of the program") {
  const Desk desk("bash");
  CHECK(desk.bash("mflux-save-qwen --layout ''") == Words{"mflux", "diffusers", "comfyui"});
  CHECK(desk.bash("/usr/bin/mflux-save --round") == Words{"--rounding"});
  const std::string names = "mflux mflux-save mflux-save-qwen";
  CHECK(contains(script("bash"), "complete -o default -F _mflux " + names));
  CHECK(script("zsh").starts_with("#compdef " + names));
}

TEST_CASE("the other names can be left out, for a place where Python's mflux has them") {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    CAPTURE(shell);
    const std::string without = script(shell, {"--without-names"});
    for (const std::string name : {"mflux-save", "mflux-save-qwen"}) {
      CHECK(contains(script(shell), name));
      CHECK(!contains(without, name));
    }
  }
  const Desk desk("bash", {"--without-names"});
  CHECK(desk.bash("mflux save --layout ''") == Words{"mflux", "diffusers", "comfyui"});
}

TEST_CASE("zsh reads its script") {
  if (!is_installed("zsh")) return skip("zsh is not installed");
  const Desk desk("zsh");
  const ProgramRun run = run_program({"-n", (desk.folder / "script").string()}, "zsh");
  CHECK(run.err == "");
  CHECK(run.status == 0);
}

TEST_CASE("fish completes subcommands, options, choices and files") {
  if (!is_installed("fish")) return skip("fish is not installed");
  const Desk desk("fish");
  CHECK(desk.fish("mflux ver") == Words{"verify"});
  CHECK(desk.fish("mflux save --q-m") == Words{"--q-mode"});
  CHECK(desk.fish("mflux save --q-mode ") == Words{"affine", "mxfp4", "mxfp8", "nvfp4"});
  CHECK(desk.fish("mflux save --path ") == Words{"a folder/"});
  CHECK(desk.fish("mflux save --lora ").front() == "b.safetensors");
  CHECK(desk.fish("mflux save --lora b.safetensors c") == Words{"c d.safetensors"});
  CHECK(desk.fish("mflux inspect --convert kohya b") == Words{"b.safetensors"});
  CHECK(desk.fish("mflux-save-qwen --layout ") == Words{"mflux", "diffusers", "comfyui"});
  CHECK(desk.fish("mflux verify ") == Words{"a folder/"});
}

TEST_CASE("every model name that is offered is one the program knows") {
  const Desk desk("bash");
  const Words names = desk.bash("mflux save --base-model ''");
  CHECK(names.size() >= 6);
  for (const std::string& name : names) {
    CAPTURE(name);
    CHECK(models::find_known_model(name) != nullptr);
  }
}

TEST_CASE("a shell without a completion is refused by name") {
  const ProgramRun run = run_program({"completion", "tcsh"});
  CHECK(run.status == 2);
  CHECK(contains(run.err, "the shell 'tcsh' is not bash, zsh or fish"));
}

}  // namespace
}  // namespace mflux::cli
