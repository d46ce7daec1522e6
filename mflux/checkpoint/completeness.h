// SPDX-License-Identifier: MIT
// Whether a model is whole: what it promises is there.
//
// A folder whose model_index.json names parts promises those. A folder without one (Python's mflux
// writes none) promises every component and tokenizer of its family, unless it holds a transformer
// and nothing else of them. A single file and a transformer's own folder promise the transformer.
#pragma once

#include <string>
#include <vector>

#include "mflux/checkpoint/checkpoint.h"

namespace mflux {

// Throws Error that names every part that is promised and not there, and what is wrong with it.
// Returns the parts that a picture needs and that this model does not promise; none of a whole one.
std::vector<std::string> check_complete(const Checkpoint& model);

// Throws Error, naming the part, if generate() could not use the model: tensors, config.json and
// tokenizers are read, and the components must go together. `absent`: parts that are not promised.
void check_usable(const Checkpoint& model, const std::vector<std::string>& absent);

}  // namespace mflux
