// SPDX-License-Identifier: MIT
// MLX under the one name that is used here.
#pragma once

#include <mlx/array.h>

namespace mflux {

namespace mx = mlx::core;

}  // namespace mflux
