// SPDX-License-Identifier: MIT
// The files of a tokenizer, and a prompt: the entry of that name, or one of ours.
#include "mflux/tokenizer/tokenizer.h"

#include "fuzz/input.h"

namespace mflux::fuzz {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Folder folder;
  const auto entries = split(text_of(data, size), "tokenizer.json");
  const Laid laid(folder, entries);
  std::string prompt = "A cat's \u00e9t\u00e9, 12345 \U0001F408 <|endoftext|> </s>\n ";
  for (const Entry& entry : entries) {
    if (entry.name == "prompt") prompt = entry.bytes;
  }
  refusable([&] {
    const auto tokenizer = tokenizer::Tokenizer::open(folder.path());
    const auto limit = static_cast<uint32_t>(tokenizer.size());
    const auto encode = [&](const tokenizer::EncodeOptions& options) {
      for (const int32_t id : tokenizer.encode(prompt, options).ids) {
        require(static_cast<uint32_t>(id) < limit, "ids are below size()");
      }
    };
    encode({.add_special_tokens = false});
    encode({.max_length = 77, .pad_to = 77});
  });
  return 0;
}

}  // namespace mflux::fuzz
