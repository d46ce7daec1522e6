// SPDX-License-Identifier: MIT
// A folder of pictures, COLUMN/NAME.png, as rows and columns with what they differ by.
#pragma once

#include "mflux/report/facts.h"

namespace mflux::report {

constexpr int kDifferenceGain = 8;    // of the difference pictures
constexpr int kDifferenceSide = 256;  // pixels, at most

// Reads options.images, which is set. Throws Error with the name of the file that is missing, is
// not a PNG or has another size than the others of its row; of kind usage for an unknown column.
PictureGrid read_pictures(const ReportOptions& options);

}  // namespace mflux::report
