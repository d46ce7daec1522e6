// SPDX-License-Identifier: MIT
// tokenizer_probe FOLDER: for each line of standard input, a JSON string or an object {"text",
// "add_special_tokens", "max_length", "pad_to"}, one line {"ids", "left_out", "padding"}.
#include "mflux/tokenizer/tokenizer.h"

#include <exception>
#include <iostream>
#include <string>

#include <nlohmann/json.hpp>

namespace {

using nlohmann::json;

json encode(const mflux::tokenizer::Tokenizer& tokenizer, const json& request) {
  mflux::tokenizer::EncodeOptions options;
  std::string text;
  if (request.is_string()) {
    text = request.get<std::string>();
  } else {
    text = request.at("text").get<std::string>();
    options.add_special_tokens = request.value("add_special_tokens", true);
    if (request.contains("max_length")) options.max_length = request["max_length"].get<size_t>();
    options.pad_to = request.value("pad_to", size_t{0});
  }
  const mflux::tokenizer::Encoding out = tokenizer.encode(text, options);
  return {{"ids", out.ids}, {"left_out", out.left_out}, {"padding", out.padding}};
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: tokenizer_probe FOLDER <LINES\n";
    return 2;
  }
  const auto tokenizer = mflux::tokenizer::Tokenizer::open(argv[1]);
  std::string line;
  while (std::getline(std::cin, line))
    std::cout << encode(tokenizer, json::parse(line)).dump() << '\n';
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
