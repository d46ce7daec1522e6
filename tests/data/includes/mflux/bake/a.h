// SPDX-License-Identifier: MIT
// For the test that a circle is seen: a -> b -> a.
#pragma once

#include "mflux/bake/b.h"
