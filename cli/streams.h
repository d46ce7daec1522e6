// SPDX-License-Identifier: MIT
// Standard output carries results: one that could not be written is a failure, reported at the end.
// Standard error carries the log: its reader may go away, and nothing stops.
#pragma once

#include <string_view>

namespace mflux::cli {

// First thing in main(). A dead pipe, or a file that may not grow as it should (ulimit -f), is an
// error of a write and not the end of the program; a standard stream that is closed stays closed,
// but no file that is opened later takes its place.
void settle_streams();

void write_result(std::string_view text);        // on standard output
void write_log(std::string_view text) noexcept;  // on standard error, at once

// The status to end with: `status`, or that of a failure, which is said, if a result was lost.
int status_with_results(int status);

}  // namespace mflux::cli
