// SPDX-License-Identifier: MIT
#include "mflux/tokenizer/sentencepiece.h"

#include <doctest/doctest.h>

#include "mflux/tokenizer/charsmap.h"
#include "tests/tokenizer/folders.h"

namespace mflux::tokenizer {
namespace {

using testing::contains;
using testing::error_of;

std::string model_bytes() {
  return testing::read_file(testing::tokenizer_data("t5/spiece.model"));
}

std::string parse_error(std::string_view bytes) {
  return error_of([&] { parse_sentencepiece(bytes, "file"); });
}

TEST_CASE("pieces, types and charsmap of a spiece.model are read") {
  const SentencePieces model = parse_sentencepiece(model_bytes(), "file");
  REQUIRE(model.pieces.size() > 100);
  CHECK(model.pieces[0].text == "<pad>");
  CHECK(model.types[0] == PieceType::control);
  CHECK(model.pieces[2].text == "<unk>");
  CHECK(model.types[2] == PieceType::unknown);
  CHECK(model.types[3] == PieceType::normal);
  CHECK(model.pieces[3].score < 0);
  CHECK(model.charsmap.size() > 100);
}

TEST_CASE("a spiece.model that is none is refused") {
  CHECK(parse_error("") == "file: a sentencepiece model without pieces");
  CHECK(contains(parse_error("{\"a\": 1}"), "file: not a sentencepiece model"));
  CHECK(contains(parse_error(std::string(20, '\xFF')), "a number of more than 64 bits"));
  CHECK(contains(parse_error("\x0A\x7F"), "ends 127 bytes before a field does"));
  CHECK(contains(parse_error(std::string("\x0A\x03\x0A\x01\xFF", 5)), "piece 0 is not UTF-8"));
  CHECK(contains(parse_error(std::string("\x0A\x02\x18\x09", 4)), "piece 0 has the type 9"));
  CHECK(contains(parse_error(std::string("\x0A\x02\x08\x09", 4)), "field 1 of wire type 0"));
  // trainer_spec.model_type = BPE
  CHECK(contains(parse_error(std::string("\x12\x02\x18\x02", 4)), "not a unigram model"));
}

TEST_CASE("a spiece.model cut anywhere is refused or shorter, and never read past its end") {
  const std::string bytes = model_bytes();
  size_t refused = 0;
  for (size_t size = 0; size < bytes.size(); ++size) {
    // A copy, for the sanitizer to see its end.
    const std::vector<char> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    if (!parse_error({cut.data(), cut.size()}).empty()) ++refused;
  }
  CHECK(refused > bytes.size() / 2);
}

TEST_CASE("the charsmap replaces a short grapheme whole, a long one by characters") {
  const Charsmap map(parse_sentencepiece(model_bytes(), "file").charsmap, "file");
  CHECK(map.normalize("plain") == "plain");
  CHECK(map.normalize("\uff21\uff22 a\u00a0b\u200bc \u2122") == "AB a bc TM");
  CHECK(map.normalize("cafe\u0301") == "caf\u00e9");
  // The mark is lost with the ligature, as in `tokenizers`.
  CHECK(map.normalize("\ufb01\u0301") == "fi");
  CHECK(map.normalize("\ufb01\u0301\u0301") == "fi\u0301\u0301");
  CHECK(Charsmap().normalize("\uff21") == "\uff21");
}

TEST_CASE("a charsmap that is none is refused") {
  const auto error = [](std::string_view bytes) {
    return error_of([&] { Charsmap(bytes, "file"); });
  };
  CHECK(error("").empty());
  CHECK(contains(error("ab"), "ends in its first number"));
  CHECK(
      contains(error(std::string("\x08\0\0\0abcd", 8)), "array has 8 bytes of the 4 that follow"));
  CHECK(contains(error(std::string("\x03\0\0\0abcd", 8)), "array has 3 bytes"));
  CHECK(contains(error(std::string("\x04\0\0\0\0\0\0\0\xFF\0", 10)), "are not UTF-8"));
  CHECK(contains(error(std::string("\x04\0\0\0\x09\0\0\x80x\0", 10)), "a replacement at 9"));
}

}  // namespace
}  // namespace mflux::tokenizer
