// SPDX-License-Identifier: MIT
// What Qwen-Image puts around a prompt before the text encoder sees it.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace mflux::pipelines::qwen {

// Stands for one token of a picture.
constexpr std::string_view kImageToken = "<|image_pad|>";

// A text for the encoder, and how many of its first tokens, the instructions, are dropped from what
// comes out.
struct Prompt {
  std::string text = {};
  size_t dropped = 0;
};

constexpr size_t kMaxTokens = 1058;  // of a text without pictures, those that are dropped included

Prompt text_prompt(std::string_view prompt);

// `image_tokens`: how many tokens each picture has. `named`: "Picture 1: " before the first, and so
// on.
Prompt edit_prompt(std::string_view prompt, std::span<const int> image_tokens, bool named);

// A blank one becomes a space, as in Python's mflux.
std::string negative_or_space(std::string_view negative);

}  // namespace mflux::pipelines::qwen
