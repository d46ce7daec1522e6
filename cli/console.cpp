// SPDX-License-Identifier: MIT
// Results are collected by stdio and written to standard output; everything else goes to standard
// error at once. On a terminal the bar is redrawn in place, at most ten times a second, and cleared
// before any line of text.
#include "cli/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/interrupt.h"
#include "cli/streams.h"
#include "mflux/base/printable.h"

namespace mflux::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kRedraw(100);
constexpr std::string_view kClearLine = "\r\033[K";
constexpr size_t kLogBytes = 4 * kPrintableBytes;  // of a line, which may hold several names

int terminal_width() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

std::string format_duration(double seconds) {
  const auto whole = static_cast<long>(seconds + 0.5);
  if (whole < 60) return fmt::format("{}s", whole);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

std::string json_text(const nlohmann::ordered_json& json) {
  return printable_json(
      json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

Console::Console(const ConsoleOptions& options)
    : options_(options), terminal_(isatty(STDERR_FILENO) != 0) {}

Console::~Console() {
  finish_bar();
}

SaveEvents Console::events(std::string_view verb) {
  verb_ = verb;
  begin_ = Clock::now();
  SaveEvents events;
  events.log = [this](std::string_view line) { log(line, false); };
  events.headline = [this](std::string_view line) { log(line, true); };
  if (draws()) {
    events.progress = [this](const SaveProgress& progress) { draw(progress); };
  }
  events.stop = &interrupted();
  return events;
}

void Console::result(std::string_view text) {
  finish_bar();
  std::string shown;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    shown += printable(text.substr(begin, end - begin), std::string::npos) + "\n";
    begin = end + 1;
  }
  write_result(shown);
}

void Console::object(const nlohmann::ordered_json& json) {
  finish_bar();
  write_result(json_text(json) + "\n");
}

void Console::log(std::string_view line, bool important) {
  if (options_.json) {
    const nlohmann::ordered_json json = {
        {"event", important ? "step" : "detail"}, {"message", line}};
    if (important || options_.verbose) write_result(json_text(json) + "\n");
    return;
  }
  if (!important && terminal_ && !options_.verbose) return;
  finish_bar();
  write_log(printable(line, kLogBytes) + "\n");
}

void Console::note(std::string_view line) {
  finish_bar();
  write_log(fmt::format("Note: {}\n", printable(line, kLogBytes)));
}

void Console::wrong(std::string_view message) {
  finish_bar();
  write_log(fmt::format("mflux: error: {}\n", message));
}

void Console::draw(const SaveProgress& progress) {
  const auto now = Clock::now();
  if (now - drawn_ < kRedraw && progress.bytes_done < progress.bytes_total) return;
  drawn_ = now;
  const double seconds = std::max(1e-3, std::chrono::duration<double>(now - begin_).count());
  const auto done = static_cast<double>(progress.bytes_done);
  const auto total = static_cast<double>(std::max<uint64_t>(1, progress.bytes_total));
  const double rate = done / seconds;
  const std::string text = fmt::format(
      " {:3.0f} %  {:.1f}/{:.1f} GB  {:.2f} GB/s  {} left",
      100 * done / total,
      done / 1e9,
      total / 1e9,
      rate / 1e9,
      format_duration(rate > 0 ? (total - done) / rate : 0));
  draw_bar(verb_, done / total, text);
}

void Console::draw_bar(std::string_view verb, double share, std::string_view text) {
  const int width =
      std::clamp(terminal_width() - static_cast<int>(text.size() + verb.size()) - 4, 5, 40);
  const auto filled = static_cast<int>(static_cast<double>(width) * share);
  std::string bar;
  for (int i = 0; i < width; ++i) bar += i < filled ? "█" : "░";
  write_log(fmt::format("{}{} {}{}", kClearLine, verb, bar, text));
  bar_shown_ = true;
}

void Console::finish_bar() {
  if (bar_shown_) write_log(kClearLine);
  bar_shown_ = false;
}

}  // namespace mflux::cli
