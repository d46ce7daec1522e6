// SPDX-License-Identifier: MIT
#include <array>

#include <doctest/doctest.h>

#include "mflux/pipelines/qwen/prompt.h"

namespace mflux {
namespace {

namespace qwen = pipelines::qwen;

TEST_CASE("a prompt stands between the instructions and an open answer") {
  const qwen::Prompt prompt = qwen::text_prompt("a cat");
  CHECK(prompt.text.starts_with("<|im_start|>system\nDescribe the image by detailing"));
  CHECK(prompt.text.ends_with(
      "background:<|im_end|>\n<|im_start|>user\na cat<|im_end|>\n<|im_start|>assistant\n"));
  CHECK(prompt.dropped == 34);
}

TEST_CASE("pictures of an edit come before its words") {
  const std::array tokens = {2, 1};
  const qwen::Prompt named = qwen::edit_prompt("blue", tokens, true);
  CHECK(named.dropped == 64);
  CHECK(named.text.ends_with(
      "user\nPicture 1: <|vision_start|><|image_pad|><|image_pad|><|vision_end|>Picture 2: "
      "<|vision_start|><|image_pad|><|vision_end|>blue<|im_end|>\n<|im_start|>assistant\n"));
  const qwen::Prompt plain = qwen::edit_prompt("blue", std::span(tokens).last(1), false);
  CHECK(plain.text.ends_with(
      "user\n<|vision_start|><|image_pad|><|vision_end|>blue<|im_end|>\n<|im_start|>assistant\n"));
}

TEST_CASE("a blank negative prompt is one space") {
  CHECK(qwen::negative_or_space("") == " ");
  CHECK(qwen::negative_or_space(" \n\t ") == " ");
  CHECK(qwen::negative_or_space("\u3000\u00a0") == " ");
  CHECK(qwen::negative_or_space(" blur ") == " blur ");
}

}  // namespace
}  // namespace mflux
