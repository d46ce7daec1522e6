// SPDX-License-Identifier: MIT
// Every command that the pages and --help show is run in a shell, in a folder where the names they
// use stand for small models and LoRAs. A command with a name that is not there fails the test:
// give it one in Desk or kPlaceholders.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/image/png.h"
#include "tests/cli/help.h"
#include "tests/cli/markdown.h"
#include "tests/process.h"
#include "tests/tiny_model.h"

namespace mflux::testing {
namespace {

namespace fs = std::filesystem;

// Words that stand for something, and what the test puts there.
const std::map<std::string_view, std::string_view> kPlaceholders = {
    {"F", "style.safetensors"},
    {"F.safetensors", "style.safetensors"},
    {"M", "FLUX.1-dev"},
    {"MODEL", "FLUX.1-dev"},
    {"D/flux", "FLUX.1-dev"},
    {"S", "0.8"},
    {"N", "8"},
    {"DIALECT", "kohya"},
    {"...", ""},
};

// Commands that a page shortens, and what is left out there.
const std::map<std::string_view, std::string_view> kShortened = {
    {"mflux save --dry-run", " --model FLUX.1-dev"},
};

// The ones that do not end with 0 where the pages show them.
const std::map<std::string_view, int> kStatuses = {{"compare", 4}};

bool draws(const std::string& command) {
  const std::vector<std::string> words = words_of(command);
  return words[0].find("generate") != words[0].npos || words.at(1) == "generate";
}

bool has(const std::string& command, std::string_view part) {
  return command.find(part) != command.npos;
}

// Two folders of a reader: `bake_`, and `draw_` with the models that have learned to draw.
class Desk {
 public:
  Desk() {
    for (const fs::path& folder : {bake_, draw_}) {
      fs::create_directories(folder / "build");
      for (const char* name :
           {"mflux", "mflux-save", "mflux-save-qwen", "mflux-generate", "mflux-generate-qwen"}) {
        fs::create_symlink(fs::absolute(MFLUX_PROGRAM), folder / "build" / name);
      }
      fs::create_symlink(source_folder() / "examples", folder / "examples");
    }
    // --lora-block-scales of the pages speaks of blocks 0 to 5.
    const TinySize size{.hidden = 64, .blocks = 6, .shards = 2};
    write_tiny_model(bake_ / "FLUX.1-dev", TinyFamily::flux, size);
    for (const char* name : {"style.safetensors", "a.safetensors", "detail.safetensors"}) {
      write_tiny_lora(bake_ / name, TinyFamily::flux, TinyLora::peft, size);
    }
    write_tiny_lora(bake_ / "b.safetensors", TinyFamily::flux, TinyLora::kohya, size);
    write_job();
    for (const char* column : {"base", "lora", "baked-8"}) {
      fs::create_directories(bake_ / "shots" / column);
      const std::vector<uint8_t> grey(16 * 16 * 3, static_cast<uint8_t>(column[0]));
      write_png(bake_ / "shots" / column / "fox.png", {16, 16, grey}, {});
    }
    fs::create_symlink(demo_ / "ink.safetensors", draw_ / "style.safetensors");
    fs::create_directories(home_ / ".zfunc");
    fs::create_directories(home_ / ".config/fish/completions");
  }

  void clear() const {
    for (const char* output : {"OUT", "out"}) fs::remove_all(bake_ / output);
  }

  // As the pages have it, after what must have happened before it.
  ProgramRun run(const std::string& command) const {
    if (draws(command)) return draw(command);
    const bool saves = words_of(command)[1] == "save" || has(command, "mflux-save");
    const bool reads = has(command, "OUT") && !saves && !has(command, "--convert");
    if (reads && !fs::exists(bake_ / "OUT")) {
      const size_t loras = command.find(" --lora");
      const ProgramRun saved = shell(
          bake_,
          "mflux save --model FLUX.1-dev --quantize 8 --path OUT" +
              (loras == command.npos ? " --lora style.safetensors" : command.substr(loras)));
      REQUIRE_MESSAGE(saved.status == 0, saved.err);
    }
    return shell(bake_, command);
  }

 private:
  // The job of docs/jobs.md.
  void write_job() const {
    for (const auto& block : read_page(source_folder(), "docs/jobs.md").blocks) {
      if (!block.front().starts_with("model = ")) continue;
      std::string text;
      for (const std::string& line : block) text += line + "\n";
      write_file(bake_ / "jobs.toml", text);
    }
    REQUIRE(fs::exists(bake_ / "jobs.toml"));
  }

  // Small, where the command does not say how large.
  ProgramRun draw(const std::string& command) const {
    const bool qwen = words_of(command)[0].ends_with("-qwen");
    fs::remove(draw_ / "OUT");
    fs::create_symlink(demo_ / (qwen ? "qwen" : "flux"), draw_ / "OUT");
    const std::string small = " --height 64 --width 64";
    const bool again = has(command, "--config-from-metadata");
    if (again) {
      const ProgramRun first = shell(
          draw_, "mflux generate --model OUT --prompt fox --steps 2 --output fox.png" + small);
      REQUIRE_MESSAGE(first.status == 0, first.err);
    }
    return shell(draw_, command + (again || has(command, "--width") ? "" : small));
  }

  ProgramRun shell(const fs::path& folder, const std::string& command) const {
    const char* path = std::getenv("PATH");
    return run_program(ProgramCall{
        .arguments = {"-c", "exec </dev/null; " + command},
        .program = {"sh"},
        .folder = folder,
        .environment = {
            {"PATH", (folder / "build").string() + ":" + (path == nullptr ? "" : path)},
            {"HOME", home_.path().string()},
            {"HF_HOME", (home_ / "huggingface").string()},
            {"HF_HUB_CACHE", ""}}});
  }

  const fs::path demo_ = source_folder() / "examples/demo";
  TempDir home_;
  const fs::path bake_ = home_ / "bake";
  const fs::path draw_ = home_ / "draw";
};

bool is_command(const std::string& text) {
  const std::vector<std::string> words = words_of(text);
  static const std::set<std::string> kNames = {
      "mflux",
      "build/mflux",
      "mflux-save",
      "mflux-save-qwen",
      "mflux-generate",
      "mflux-generate-qwen"};
  return words.size() >= 2 && kNames.contains(words[0]);
}

// "mflux save", "mflux-save ...": a program or subcommand, and nothing to do.
bool only_names(const std::string& command) {
  std::vector<std::string> words = words_of(command);
  if (words.back() == "...") words.pop_back();
  return words.size() == 1 || (words.size() == 2 && !has(command, "-"));
}

// What one after the other works on the same OUT.
using Commands = std::vector<std::string>;

// Of each block of code, with lines joined that end in a backslash; and each of the text, unless it
// only names one.
std::vector<Commands> commands_of(const Page& page) {
  std::vector<Commands> all;
  for (const auto& block : page.blocks) {
    Commands commands;
    std::string command;
    for (const std::string& line : block) {
      command += line;
      if (command.ends_with('\\')) {
        command.pop_back();
        continue;
      }
      if (is_command(command)) commands.push_back(command);
      command.clear();
    }
    all.push_back(commands);
  }
  for (const std::string& span : page.spans) {
    if (is_command(span) && !only_names(span)) all.push_back({span});
  }
  return all;
}

std::vector<Commands> examples_of_help() {
  std::vector<Commands> examples;
  for (const std::string& command : subcommands()) {
    bool listed = false;
    for (const std::string& line : run_program({command, "--help"}).lines()) {
      if (listed && is_command(line)) examples.push_back({line.substr(2)});
      listed = listed || line == "Examples:";
    }
  }
  return examples;
}

std::string filled_in(const std::string& command) {
  const auto shortened = kShortened.find(command);
  if (shortened != kShortened.end()) return command + std::string(shortened->second);
  std::string result;
  for (size_t begin = 0; begin <= command.size();) {  // blanks within quotes stay
    const size_t end = std::min(command.find(' ', begin), command.size());
    const std::string word = command.substr(begin, end - begin);
    const auto placeholder = kPlaceholders.find(word);
    result += placeholder == kPlaceholders.end() ? word : std::string(placeholder->second);
    if (end < command.size()) result += ' ';
    begin = end + 1;
  }
  return result;
}

// Runs what was not run before; returns how many commands that were.
size_t run_all(const std::vector<Commands>& all) {
  const std::vector<std::string> known = subcommands();
  const bool can_draw = std::ranges::find(known, "generate") != known.end();
  const Desk desk;
  size_t count = 0;
  for (const Commands& shown : std::set<Commands>(all.begin(), all.end())) {
    desk.clear();
    for (const std::string& one : shown) {
      const std::string command = filled_in(one);
      CAPTURE(command);
      REQUIRE(is_command(command));
      ++count;
      if (draws(command) && !can_draw) {
        MESSAGE("skipped, as this program was built without generate: " << command);
        continue;
      }
      const auto status = kStatuses.find(words_of(command)[1]);
      const ProgramRun run = desk.run(command);
      CHECK_MESSAGE(run.status == (status == kStatuses.end() ? 0 : status->second), run.err);
    }
  }
  return count;
}

TEST_CASE("what only names a program or subcommand is no command") {
  const Page page{
      .spans = {
          "mflux save",
          "mflux save ...",
          "mflux-save ...",
          "build/mflux generate ...",
          "mflux-generate-qwen ...",
          "mflux --version",
          "mflux-save --help",
          "mflux verify OUT ..."}};
  const std::vector<Commands> commands = {
      {"mflux --version"}, {"mflux-save --help"}, {"mflux verify OUT ..."}};
  CHECK(commands_of(page) == commands);
}

TEST_CASE("every command of README.md runs") {
  CHECK(run_all(commands_of(read_page(source_folder(), "README.md"))) >= 7);
}

TEST_CASE("every command of examples/demo/README.md runs") {
  CHECK(run_all(commands_of(read_page(source_folder(), "examples/demo/README.md"))) >= 1);
}

TEST_CASE("every command of docs/ runs") {
  std::vector<Commands> all;
  for (const Page& page : pages_below(source_folder())) {
    if (!page.name.starts_with("docs/")) continue;
    for (const Commands& commands : commands_of(page)) all.push_back(commands);
  }
  CHECK(run_all(all) >= 20);
}

TEST_CASE("every example of --help runs") {
  CHECK(run_all(examples_of_help()) >= 12);
}

}  // namespace
}  // namespace mflux::testing
