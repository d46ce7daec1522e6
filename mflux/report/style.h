// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

namespace mflux::report {

std::string_view style();  // the page's CSS; light and dark by the reader's setting

}  // namespace mflux::report
