// SPDX-License-Identifier: MIT
// spiece.model is a protocol buffer; of its fields five are read, by a reader of the wire format
// that needs no schema and skips all others.
#include "mflux/tokenizer/sentencepiece.h"

#include <bit>
#include <cstring>
#include <utility>

#include "mflux/base/error.h"
#include "mflux/base/utf8.h"
#include "mflux/tokenizer/unicode.h"

namespace mflux::tokenizer {
namespace {

// Field numbers of sentencepiece_model.proto.
constexpr uint64_t kModelPieces = 1;
constexpr uint64_t kModelTrainer = 2;
constexpr uint64_t kModelNormalizer = 3;
constexpr uint64_t kPieceText = 1;
constexpr uint64_t kPieceScore = 2;
constexpr uint64_t kPieceType = 3;
constexpr uint64_t kTrainerModelType = 3;
constexpr uint64_t kNormalizerCharsmap = 2;
constexpr uint64_t kUnigramModel = 1;

enum WireType : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Field {
  uint64_t number = 0;
  uint64_t type = 0;
  uint64_t value = 0;           // of a varint or a fixed number
  std::string_view bytes = {};  // of kBytes
};

// Reads the fields of one message in turn.
class Message {
 public:
  Message(std::string_view bytes, std::string_view file) : bytes_(bytes), file_(file) {}

  bool next(Field& field) {
    if (bytes_.empty()) return false;
    const uint64_t tag = varint();
    field = {tag >> 3, tag & 7};
    switch (field.type) {
      case kVarint:
        field.value = varint();
        return true;
      case kFixed64:
        field.value = fixed<uint64_t>();
        return true;
      case kFixed32:
        field.value = fixed<uint32_t>();
        return true;
      case kBytes:
        field.bytes = take(varint());
        return true;
      default:
        fail("{}: not a sentencepiece model (wire type {})", file_, field.type);
    }
  }

 private:
  std::string_view take(uint64_t count) {
    if (count > bytes_.size())
      fail("{}: ends {} bytes before a field does", file_, count - bytes_.size());
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }

  template <typename T>
  T fixed() {
    T value = 0;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
    fail("{}: not a sentencepiece model (a number of more than 64 bits)", file_);
  }

  std::string_view bytes_;
  std::string_view file_;
};

void expect(const Field& field, WireType type, std::string_view file) {
  if (field.type != type)
    fail(
        "{}: not a sentencepiece model (field {} of wire type {})", file, field.number, field.type);
}

void parse_piece(std::string_view bytes, std::string_view file, SentencePieces& out) {
  Piece piece;
  auto type = PieceType::normal;
  Message message(bytes, file);
  Field field;
  while (message.next(field)) {
    if (field.number == kPieceText) {
      expect(field, kBytes, file);
      piece.text = field.bytes;
      if (invalid_utf8(piece.text) != std::string::npos)
        fail("{}: piece {} is not UTF-8", file, out.pieces.size());
    } else if (field.number == kPieceScore) {
      expect(field, kFixed32, file);
      piece.score = std::bit_cast<float>(static_cast<uint32_t>(field.value));
    } else if (field.number == kPieceType) {
      expect(field, kVarint, file);
      if (field.value < 1 || field.value > 6)
        fail("{}: piece {} has the type {}", file, out.pieces.size(), field.value);
      type = static_cast<PieceType>(field.value - 1);
    }
  }
  out.pieces.push_back(std::move(piece));
  out.types.push_back(type);
}

// The last field of that number, which is what counts in a protocol buffer.
Field field_of(std::string_view bytes, uint64_t number, std::string_view file) {
  Message message(bytes, file);
  Field found;
  Field field;
  while (message.next(field)) {
    if (field.number == number) found = field;
  }
  return found;
}

}  // namespace

SentencePieces parse_sentencepiece(std::string_view bytes, std::string_view file) {
  SentencePieces out;
  Message message(bytes, file);
  Field field;
  // A piece takes a score, tags and lengths; whoever leaves them out may do so a thousand times.
  constexpr size_t kPieceBytes = 14;
  const size_t most = 1000 + bytes.size() / kPieceBytes;
  while (message.next(field)) {
    if (field.number == kModelPieces) {
      expect(field, kBytes, file);
      if (out.pieces.size() == most) {
        fail("{}: more than {} pieces in {} bytes", file, most, bytes.size());
      }
      parse_piece(field.bytes, file, out);
    } else if (field.number == kModelTrainer) {
      expect(field, kBytes, file);
      const Field type = field_of(field.bytes, kTrainerModelType, file);
      if (type.number != 0 && type.value != kUnigramModel)
        fail("{}: not a unigram model (model_type {})", file, type.value);
    } else if (field.number == kModelNormalizer) {
      expect(field, kBytes, file);
      out.charsmap = field_of(field.bytes, kNormalizerCharsmap, file).bytes;
    }
  }
  if (out.pieces.empty()) fail("{}: a sentencepiece model without pieces", file);
  return out;
}

}  // namespace mflux::tokenizer
