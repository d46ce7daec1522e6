// SPDX-License-Identifier: MIT
#include "cli/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/interrupt.h"

namespace mflux::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kRedraw(100);

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
  fmt::print("{}\n", text);
}

void Console::log(std::string_view line, bool important) {
  if (options_.json) {
    const nlohmann::ordered_json json = {
        {"event", important ? "step" : "detail"}, {"message", line}};
    if (important || options_.verbose) fmt::print("{}\n", json.dump());
    return;
  }
  if (!important && terminal_ && !options_.verbose) return;
  if (bar_shown_) fmt::print(stderr, "\r\033[K");
  bar_shown_ = false;
  fmt::print(stderr, "{}\n", line);
  std::fflush(stderr);
}

void Console::note(std::string_view line) {
  finish_bar();
  fmt::print(stderr, "Note: {}\n", line);
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
  fmt::print(stderr, "\r\033[K{} {}{}", verb, bar, text);
  std::fflush(stderr);
  bar_shown_ = true;
}

void Console::finish_bar() {
  if (bar_shown_) fmt::print(stderr, "\r\033[K");
  bar_shown_ = false;
  std::fflush(stderr);
}

}  // namespace mflux::cli
