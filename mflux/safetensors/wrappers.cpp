// SPDX-License-Identifier: MIT
#include "mflux/safetensors/wrappers.h"

#include <array>

namespace mflux::safetensors {
namespace {

struct Word {
  std::string_view text;
  std::string_view separators;  // that may stand around it
};

constexpr std::array kWords = {
    Word{"_orig_mod", "._"},
    Word{"_fsdp_wrapped_module", "._"},
    Word{"_checkpoint_wrapped_module", "._"},
    Word{"module", "."},  // too common a word to be looked for between underscores
};

void erase_word(std::string& name, const Word& word) {
  const auto is_separator = [&](size_t at) {
    return at < name.size() && word.separators.find(name[at]) != std::string_view::npos;
  };
  size_t at = 0;
  while ((at = name.find(word.text, at)) != std::string::npos) {
    const size_t end = at + word.text.size();
    if (!is_separator(end) || (at != 0 && !is_separator(at - 1))) {
      at = end;
    } else if (at == 0) {
      name.erase(0, end + 1);
    } else {
      name.erase(--at, word.text.size() + 1);
    }
  }
}

}  // namespace

std::string without_wrappers(std::string_view name) {
  std::string result(name);
  for (const Word& word : kWords) erase_word(result, word);
  return result;
}

}  // namespace mflux::safetensors
