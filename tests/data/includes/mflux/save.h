// SPDX-License-Identifier: MIT
// For the test that a header with too many behind it is seen.
#pragma once

#include "mflux/bake/a.h"
#include "mflux/c.h"
#include "mflux/d.h"
#include "mflux/e.h"
#include "mflux/f.h"
#include "mflux/g.h"
