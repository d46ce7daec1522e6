// SPDX-License-Identifier: MIT
// What a newcomer reads first: one sentence, and what did not go as asked.
#pragma once

#include "mflux/report/facts.h"

namespace mflux::report {

// Fills in `verdict` and `warnings` from the rest.
void judge(ReportFacts& facts);

}  // namespace mflux::report
