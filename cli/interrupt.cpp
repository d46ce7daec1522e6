// SPDX-License-Identifier: MIT
#include "cli/interrupt.h"

#include <unistd.h>

#include <csignal>
#include <string_view>

namespace mflux::cli {
namespace {

std::atomic<bool> g_interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void on_signal(int) {
  if (g_interrupted.exchange(true)) _exit(130);
}

// A page of a mapped file that is no longer there. Nothing but the weights of `generate` is mapped.
extern "C" void on_bus_error(int) {
  static constexpr std::string_view kMessage =
      "mflux: error: a file of the model became shorter, or its disk could not be read, while it "
      "was in use\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kMessage.data(), kMessage.size());
  _exit(1);
}

}  // namespace

std::atomic<bool>& interrupted() {
  return g_interrupted;
}

void catch_lost_pages() {
  struct sigaction action = {};
  action.sa_handler = on_bus_error;
  sigaction(SIGBUS, &action, nullptr);
}

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace mflux::cli
