// SPDX-License-Identifier: MIT
#include "mflux/bake/b.h"

#include "mflux/bake/a.h"
