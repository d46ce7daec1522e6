// SPDX-License-Identifier: MIT
// A page about a saved folder for people: what was baked from what, what of it survived, how every
// tensor is stored, and pictures side by side. docs/report.md shows what is on it.
//
//   const ReportFacts facts = gather_report({.folder = "OUT"});
//   write_text_atomically("OUT-report.html", format_report(facts));
#pragma once

#include <string>

#include "mflux/report/facts.h"

namespace mflux {

// Reads bake.json and headers. Throws Error: no folder, no receipt or a broken one, a file of
// tensors that is missing or damaged, pictures that do not fit together; of kind usage for columns
// that are not there.
ReportFacts gather_report(const ReportOptions& options);

// The page: HTML that refers to no other file and needs no script. The same facts give the same
// text.
std::string format_report(const ReportFacts& facts);

}  // namespace mflux
