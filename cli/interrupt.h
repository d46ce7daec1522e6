// SPDX-License-Identifier: MIT
// Ctrl-C asks the work to stop; asked twice, it stops at once.
#pragma once

#include <atomic>

namespace mflux::cli {

std::atomic<bool>& interrupted();
void catch_interrupts();  // SIGINT, SIGTERM

}  // namespace mflux::cli
