// SPDX-License-Identifier: MIT
#include "cli/streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <system_error>

#include <fmt/format.h>

#include "cli/commands.h"

namespace mflux::cli {
namespace {

std::atomic<int> g_lost = 0;  // errno of the first result that could not be written

}  // namespace

void settle_streams() {
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
  sigaction(SIGXFSZ, &ignore, nullptr);
  // Opened in order, each takes the lowest free number, its own. Standard output is not for
  // writing, so that a result is still lost loudly.
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) != -1 || errno != EBADF) continue;
    if (::open("/dev/null", stream == STDERR_FILENO ? O_WRONLY : O_RDONLY) != stream) return;
  }
}

void write_result(std::string_view text) {
  if (g_lost != 0) return;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) g_lost = errno;
}

void write_log(std::string_view text) noexcept {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

int status_with_results(int status) {
  if (std::fflush(stdout) != 0 && g_lost == 0) g_lost = errno;
  if (g_lost == 0) return status;
  write_log(fmt::format(
      "mflux: error: standard output: cannot write the results: {}\n",
      std::generic_category().message(g_lost)));
  return status == ExitStatus::done ? ExitStatus::failed : status;
}

}  // namespace mflux::cli
