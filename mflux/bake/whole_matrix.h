// SPDX-License-Identifier: MIT
// Tensors that cannot be merged row by row, because some update of theirs needs the whole matrix:
// they are read into float32 buffers when the pass reaches the first of them, and all updates are
// applied there, in order.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "mflux/bake/planned.h"
#include "mflux/bake/whole_tensor.h"
#include "mflux/checkpoint/checkpoint.h"

namespace mflux {

// The tensors of a WholeGroup by their names, as in the group.
using WholeTensors = std::map<std::string, WholeTensor>;

// Finds the groups of a plan and what they take: no memory is taken yet.
std::vector<WholeGroup> find_whole_groups(const Checkpoint& model, const Plan& plan);

// Reads and merges. The result does not depend on the number of threads.
WholeTensors merge_whole(const Checkpoint& model, const Plan& plan, const WholeGroup& group);

}  // namespace mflux
