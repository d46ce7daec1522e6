// SPDX-License-Identifier: MIT
// What the user sees: results on standard output; log, warnings and the progress bar on standard
// error.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "mflux/save.h"

namespace mflux::cli {

// One line, whatever bytes the strings in it have.
std::string json_text(const nlohmann::ordered_json& json);

std::string format_duration(double seconds);  // "42s", "3:05"

struct ConsoleOptions {
  bool json = false;     // one JSON object a line, on standard output
  bool verbose = false;  // every line of the log, even on a terminal
};

class Console {
 public:
  explicit Console(const ConsoleOptions& options);
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  SaveEvents events(std::string_view verb);  // valid as long as the console
  // Lines of the answer; or, with --json, an object of it. Names of strangers are cut before.
  void result(std::string_view text);
  void object(const nlohmann::ordered_json& json);
  void log(std::string_view line, bool important);
  void note(std::string_view line);  // about what was asked for; on standard error always
  // What is wrong with what was looked at: on standard error too, as well as in the results.
  // `message` is printable already.
  void wrong(std::string_view message);
  // Draws `verb`, a bar and `text` on a terminal, where a bar is wanted.
  void draw_bar(std::string_view verb, double share, std::string_view text);
  bool draws() const { return terminal_ && !options_.verbose && !options_.json; }
  bool json() const { return options_.json; }
  void finish_bar();

 private:
  void draw(const SaveProgress& progress);

  ConsoleOptions options_;
  bool terminal_;
  std::string verb_ = {};
  bool bar_shown_ = false;
  std::chrono::steady_clock::time_point begin_ = {};
  std::chrono::steady_clock::time_point drawn_ = {};
};

}  // namespace mflux::cli
