// SPDX-License-Identifier: MIT
#include "cli/family.h"

#include "mflux/base/error.h"
#include "mflux/checkpoint/checkpoint.h"
#include "mflux/hub/hub.h"

namespace mflux::cli {

void check_family(
    const Program& program,
    const std::string& model,
    const std::optional<std::string>& base_model) {
  if (!program.required_family) return;
  const Checkpoint found = open_checkpoint(hub::resolve_model(model), base_model);
  const models::Family* required = models::find_family(*program.required_family);
  if (models::family_name(*found.family) == models::family_name(*required)) return;
  fail(
      ErrorKind::usage,
      "{}: this is {}, and the command is for {}; use the command without -qwen",
      model,
      models::family_title(*found.family),
      models::family_title(*required));
}

}  // namespace mflux::cli
