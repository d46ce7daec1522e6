// SPDX-License-Identifier: MIT
#include "mflux/convert_lora.h"

#include "mflux/base/error.h"
#include "mflux/checkpoint/checkpoint.h"
#include "mflux/checkpoint/lora_base.h"
#include "mflux/hub/hub.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

lora::BaseModel base_for(const fs::path& file, const ConvertOptions& options) {
  if (options.model) {
    return lora_base(open_checkpoint(hub::resolve_model(*options.model), options.base_model));
  }
  const lora::Survey survey = lora::survey(file, models::lora_families());
  std::string_view family = survey.made_for.name;
  if (options.base_model) {
    const models::Family* asked = models::find_family(*options.base_model);
    if (asked == nullptr) {
      fail(
          ErrorKind::usage,
          "--base-model '{}' is not {}",
          *options.base_model,
          models::family_names());
    }
    family = models::family_name(*asked);
  }
  if (!survey.problems.empty() && survey.problems.front().module.empty()) {
    fail(ErrorKind::lora, "{}", Shown{lora::describe(survey.problems)});
  }
  std::optional<lora::BaseModel> base = published_base(survey, family);
  if (base) return std::move(*base);
  if (family.empty()) {
    fail(
        ErrorKind::usage,
        "{}: does not say which model it is for; give --base-model {}, or --model",
        file.string(),
        models::family_names());
  }
  fail(ErrorKind::lora, "{}: made for {}, which is not supported", file.string(), family);
}

void check_output(const fs::path& file, const ConvertOptions& options) {
  const fs::path& output = options.output;
  if (!output.has_filename() || fs::is_directory(output)) {
    fail(ErrorKind::usage, "{}: is a folder; --convert needs the name of a file", output.string());
  }
  if (!fs::exists(output)) return;
  if (fs::equivalent(file, output)) {
    fail(ErrorKind::usage, "{}: is the file to be converted", output.string());
  }
  if (!options.overwrite) {
    fail(ErrorKind::usage, "{}: exists; --overwrite replaces it", output.string());
  }
}

}  // namespace

lora::ConvertedFile convert_lora(const ConvertOptions& options) {
  const auto dialect = lora::parse_writing_dialect(options.dialect);
  if (!dialect) {
    fail(ErrorKind::usage, "--convert '{}' is not diffusers, kohya or comfyui", options.dialect);
  }
  try {
    const fs::path file = hub::resolve_lora(options.lora);
    check_output(file, options);
    const lora::LoraSpec spec{
        .file = file, .scale = options.scale, .block_scales = options.block_scales};
    return lora::convert(spec, base_for(file, options), *dialect, options.output);
  } catch (const fs::filesystem_error& error) {
    fail("{}", error.what());
  }
}

}  // namespace mflux
