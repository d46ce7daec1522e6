// SPDX-License-Identifier: MIT
#include "mflux/pipelines/qwen/prompt.h"

#include <algorithm>

#include <fmt/format.h>

#include "mflux/base/utf8.h"

namespace mflux::pipelines::qwen {
namespace {

// The words the models were trained with.
constexpr std::string_view kDescribe =
    "Describe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:";
constexpr std::string_view kChange =
    "Describe the key features of the input image (color, shape, size, texture, objects, "
    "background), then explain how the user's text instruction should alter or modify the image. "
    "Generate a new image that meets the user's requirements while maintaining consistency with "
    "the original input where appropriate.";
constexpr size_t kDescribeTokens = 34;
constexpr size_t kChangeTokens = 64;

std::string chat(std::string_view system, std::string_view user) {
  return fmt::format(
      "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
      system,
      user);
}

}  // namespace

Prompt text_prompt(std::string_view prompt) {
  return {.text = chat(kDescribe, prompt), .dropped = kDescribeTokens};
}

Prompt edit_prompt(std::string_view prompt, std::span<const int> image_tokens, bool named) {
  std::string user;
  for (size_t i = 0; i < image_tokens.size(); ++i) {
    if (named) user += fmt::format("Picture {}: ", i + 1);
    user += "<|vision_start|>";
    for (int token = 0; token < image_tokens[i]; ++token) user += kImageToken;
    user += "<|vision_end|>";
  }
  user += prompt;
  return {.text = chat(kChange, user), .dropped = kChangeTokens};
}

std::string negative_or_space(std::string_view negative) {
  return stripped(negative).empty() ? " " : std::string(negative);
}

}  // namespace mflux::pipelines::qwen
