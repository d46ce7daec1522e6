// SPDX-License-Identifier: MIT
// What signals do. Ctrl-C asks the work to stop; asked twice, it stops at once.
#pragma once

#include <atomic>

namespace mflux::cli {

std::atomic<bool>& interrupted();
void catch_interrupts();  // SIGINT, SIGTERM
void catch_lost_pages();  // SIGBUS: a mapped file became shorter; one message and status 1

}  // namespace mflux::cli
