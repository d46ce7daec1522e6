// SPDX-License-Identifier: MIT
// One pass over the JSON, with a SAX parser that keeps tensors and metadata and refuses everything
// else where it stands: a tree of it would take many times its text. Then names are sorted to find
// duplicates, and tensors by offset, where each must begin exactly where the one before ends and
// the last one at the end of the file. If the beginning is not that of a header, the first 64 bytes
// are compared with those of other formats for a better message.
#include "mflux/safetensors/header.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "mflux/base/error.h"

namespace mflux::safetensors {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr uint64_t kDataAlignment = 64;
constexpr size_t kMaxDimensions = 16;

constexpr size_t kMaxMetadata = 10'000;
constexpr size_t kShortestEntry = 50;
constexpr size_t kShownBytes = 40;  // of a text that is refused
constexpr std::string_view kMetadata = "__metadata__";

// A tensor as its entry says, offsets from the start of the data.
struct Entry {
  std::string name;
  std::optional<Dtype> dtype;
  std::optional<Shape> shape;
  std::optional<std::vector<uint64_t>> offsets;
};

std::optional<uint64_t> spec_bytes(const TensorSpec& spec) {
  const std::optional<uint64_t> count = element_count(spec.shape);
  uint64_t bytes = 0;
  if (!count || __builtin_mul_overflow(*count, dtype_bytes(spec.dtype), &bytes)) return {};
  return bytes;
}

TensorInfo checked(Entry entry, uint64_t data_bytes, std::string_view file) {
  const uint64_t begin = entry.offsets->at(0);
  const uint64_t end = entry.offsets->at(1);
  TensorInfo tensor{std::move(entry.name), {*entry.dtype, std::move(*entry.shape)}, begin, 0};
  if (begin > end) {
    fail("{}: tensor '{}' begins at byte {} and ends at {}", file, tensor.name, begin, end);
  }
  tensor.bytes = end - begin;
  const std::optional<uint64_t> expected = spec_bytes(tensor.spec);
  if (!expected) {
    fail(
        "{}: tensor '{}' has shape {}, more than 64 bits can count",
        file,
        tensor.name,
        to_string(tensor.spec.shape));
  }
  if (tensor.bytes != *expected) {
    fail(
        "{}: tensor '{}' has {} bytes, expected {} for {} {}",
        file,
        tensor.name,
        tensor.bytes,
        *expected,
        dtype_name(tensor.spec.dtype),
        to_string(tensor.spec.shape));
  }
  if (end > data_bytes) {
    fail(
        "{}: tensor '{}' ends at data byte {}, but the file has {}. Perhaps an incomplete "
        "download?",
        file,
        tensor.name,
        end,
        data_bytes);
  }
  return tensor;
}

// Receives the JSON piece by piece and refuses whatever cannot be a header at once, so that no
// depth, no duplicate and no number outside 64 bits gets past it.
class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  HeaderReader(std::string_view file, size_t text_bytes, uint64_t data_bytes)
      : file_(file), data_bytes_(data_bytes) {
    tensors_.reserve(std::min(kMaxTensors, text_bytes / kShortestEntry));
  }

  std::vector<TensorInfo> take_tensors() { return std::move(tensors_); }
  Metadata take_metadata() { return std::move(metadata_); }

  // Some writers say with null that there is no metadata.
  bool null() override {
    if (state_ == State::top && key_ == kMetadata) return true;
    unexpected("null");
  }
  bool boolean(bool) override { unexpected("a boolean"); }
  bool number_float(number_float_t, const string_t& text) override {
    unexpected("the number " + text.substr(0, kShownBytes));
  }
  bool number_integer(number_integer_t value) override {
    unexpected("the number " + std::to_string(value));
  }
  bool binary(binary_t&) override { unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ != State::shape && state_ != State::offsets) {
      unexpected("the number " + std::to_string(value));
    }
    if (numbers_.size() == kMaxDimensions) {
      fail("{}: {} has more than {} numbers", file_, where(), kMaxDimensions);
    }
    numbers_.push_back(value);
    return true;
  }

  bool string(string_t& value) override {
    if (state_ == State::metadata) {
      if (metadata_.size() == kMaxMetadata) {
        fail("{}: the metadata has more than {} keys", file_, kMaxMetadata);
      }
      metadata_[key_] = std::move(value);
      return true;
    }
    if (state_ != State::tensor || key_ != "dtype") unexpected("a string");
    entry_.dtype = parse_dtype(value);
    if (!entry_.dtype) {
      fail(
          "{}: tensor '{}' has the unknown dtype '{}'",
          file_,
          entry_.name,
          value.substr(0, kShownBytes));
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (state_ == State::start) {
      state_ = State::top;
    } else if (state_ == State::top) {
      state_ = key_ == kMetadata ? State::metadata : State::tensor;
      if (state_ == State::tensor) start_tensor();
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool end_object() override {
    if (state_ == State::tensor) end_tensor();
    state_ = state_ == State::top ? State::end : State::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (state_ != State::tensor || (key_ != "shape" && key_ != "data_offsets")) {
      unexpected("an array");
    }
    state_ = key_ == "shape" ? State::shape : State::offsets;
    numbers_.clear();
    return true;
  }

  bool end_array() override {
    (state_ == State::shape ? entry_.shape : entry_.offsets) = numbers_;
    state_ = State::tensor;
    return true;
  }

  bool key(string_t& name) override {
    if (state_ == State::tensor) check_inner_key(name);
    if (name.size() > kMaxNameBytes) refuse_long(name);
    const bool second = (state_ == State::top && name == kMetadata && has_metadata_) ||
                        (state_ == State::metadata && metadata_.contains(name));
    if (second) fail("{}: the key '{}' appears twice", file_, name);
    if (state_ == State::top && name == kMetadata) has_metadata_ = true;
    key_ = std::move(name);
    return true;
  }

  bool parse_error(
      std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    fail("{}: the header is not valid JSON at its byte {}", file_, position);
  }

 private:
  enum class State : uint8_t { start, top, metadata, tensor, shape, offsets, end };

  std::string where() const {
    switch (state_) {
      case State::start:
      case State::end:
        return "the header";
      case State::top:
        return "the entry '" + key_ + "'";
      case State::metadata:
        return "the metadata '" + key_ + "'";
      case State::tensor:
      case State::shape:
      case State::offsets:
        return "'" + key_ + "' of tensor '" + entry_.name + "'";
    }
    return {};
  }

  std::string_view expected() const {
    switch (state_) {
      case State::start:
      case State::end:
      case State::top:
        return "an object";
      case State::metadata:
        return "a string";
      case State::tensor:
        return key_ == "dtype" ? "a string" : "an array";
      case State::shape:
      case State::offsets:
        return "a number from 0 to 2^64 - 1";
    }
    return {};
  }

  [[noreturn]] void unexpected(std::string_view found) const {
    fail("{}: {} is {}, expected {}", file_, where(), found, expected());
  }

  void check_inner_key(const std::string& name) const {
    const bool second = (name == "dtype" && entry_.dtype) || (name == "shape" && entry_.shape) ||
                        (name == "data_offsets" && entry_.offsets);
    if (second) fail("{}: tensor '{}' has '{}' twice", file_, entry_.name, name);
    if (name != "dtype" && name != "shape" && name != "data_offsets") {
      fail(
          "{}: tensor '{}' has the unknown key '{}', expected dtype, shape and data_offsets",
          file_,
          entry_.name,
          name.substr(0, kShownBytes));
    }
  }

  [[noreturn]] void refuse_long(const std::string& name) const {
    fail(
        "{}: a {} has {} bytes, expected at most {}: '{}...'",
        file_,
        state_ == State::metadata ? "key of the metadata" : "tensor's name",
        name.size(),
        kMaxNameBytes,
        name.substr(0, kShownBytes));
  }

  void start_tensor() {
    if (tensors_.size() == kMaxTensors) {
      fail("{}: the header has more than {} tensors", file_, kMaxTensors);
    }
    entry_ = {};
    entry_.name = key_;
  }

  void end_tensor() {
    const std::string_view missing = !entry_.dtype     ? "dtype"
                                     : !entry_.shape   ? "shape"
                                     : !entry_.offsets ? "data_offsets"
                                                       : "";
    if (!missing.empty()) fail("{}: tensor '{}' has no '{}'", file_, entry_.name, missing);
    if (entry_.offsets->size() != 2) {
      fail(
          "{}: tensor '{}' has {} data_offsets, expected 2",
          file_,
          entry_.name,
          entry_.offsets->size());
    }
    tensors_.push_back(checked(std::move(entry_), data_bytes_, file_));
  }

  std::string_view file_;
  State state_ = State::start;
  std::string key_;
  bool has_metadata_ = false;
  uint64_t data_bytes_;
  Entry entry_ = {};                    // that is being read
  std::vector<uint64_t> numbers_ = {};  // its list that is being read
  std::vector<TensorInfo> tensors_ = {};
  Metadata metadata_;
};

void check_unique(const std::vector<TensorInfo>& tensors, std::string_view file) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) names.push_back(tensor.name);
  std::ranges::sort(names);
  const auto second = std::ranges::adjacent_find(names);
  if (second != names.end()) fail("{}: the tensor '{}' appears twice", file, *second);
}

// Every tensor's bytes begin where those of the tensor before it end, and the last one's end is the
// file's.
void check_layout(
    const std::vector<TensorInfo>& tensors, uint64_t data_bytes, std::string_view file) {
  uint64_t end = 0;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.offset != end) {
      fail(
          "{}: tensor '{}' begins at data byte {}, expected {} ({})",
          file,
          tensor.name,
          tensor.offset,
          end,
          tensor.offset < end ? "it overlaps the tensor before it" : "there is a hole before it");
    }
    end = tensor.offset + tensor.bytes;
  }
  if (end != data_bytes) {
    fail(
        "{}: {} bytes of data follow the header, expected {}. {}",
        file,
        data_bytes,
        end,
        end > data_bytes ? "Perhaps an incomplete download?"
                         : "Some of the data belongs to no tensor.");
  }
}

uint64_t read_little_endian(std::span<const std::byte, kLengthBytes> bytes) {
  uint64_t value = 0;
  for (size_t i = kLengthBytes; i-- > 0;) value = value << 8 | std::to_integer<uint64_t>(bytes[i]);
  return value;
}

struct Beginning {
  std::string_view bytes;
  std::string_view what;
};

// Of files that are taken for safetensors files. Blanks before a text are skipped.
constexpr std::string_view kPickle =
    "Perhaps a PyTorch (pickle) file, which is not read: convert it to safetensors";
constexpr std::string_view kArchive = "It is an archive: unpack it";
constexpr std::string_view kPicture = "It is a picture";
constexpr std::string_view kWebPage =
    "It is a web page (a login or an error page?): fetch the file itself";
constexpr std::array kBeginnings = {
    Beginning{"version https://git-lfs", "Perhaps a Git LFS pointer: run 'git lfs pull'"},
    Beginning{"PK\x03\x04", kPickle},
    Beginning{"\x80\x02", kPickle},
    Beginning{"\x80\x03", kPickle},
    Beginning{"\x80\x04", kPickle},
    Beginning{"\x80\x05", kPickle},
    Beginning{
        "GGUF", "It is a GGUF file, which is not read: take the safetensors release of the model"},
    Beginning{"\x1f\x8b", kArchive},
    Beginning{"7z\xbc\xaf", kArchive},
    Beginning{"Rar!", kArchive},
    Beginning{"\x89PNG", kPicture},
    Beginning{"\xff\xd8\xff", kPicture},
    Beginning{"GIF8", kPicture},
    Beginning{"RIFF", kPicture},
    Beginning{"<", kWebPage},
    Beginning{"{", "It is JSON, not the weights"},
    Beginning{"[", "It is JSON, not the weights"},
};

bool is_text(std::string_view bytes) {
  return std::ranges::all_of(bytes, [](char c) {
    return (c >= ' ' && c != '\x7f') || c == '\n' || c == '\r' || c == '\t';
  });
}

// What a file that is not a safetensors file probably is; "" if we have no idea.
std::string_view guess(std::string_view start) {
  if (start.starts_with("\xef\xbb\xbf")) start.remove_prefix(3);  // UTF-8's mark
  const size_t text = start.find_first_of("{[<");
  if (start.find_first_not_of(" \t\r\n") == text && text != start.npos) start.remove_prefix(text);
  const auto found = std::ranges::find_if(
      kBeginnings, [&](const Beginning& beginning) { return start.starts_with(beginning.bytes); });
  if (found != kBeginnings.end()) return found->what;
  return is_text(start) ? "It is a text file" : "";
}

std::string beginning_of(const File& file, uint64_t file_bytes) {
  constexpr uint64_t kEnough = 64;
  std::string start(static_cast<size_t>(std::min(kEnough, file_bytes)), '\0');
  file.read(0, std::as_writable_bytes(std::span(start)));
  return start;
}

}  // namespace

const TensorInfo* Header::find(std::string_view name) const {
  const auto found = std::ranges::find(tensors, name, &TensorInfo::name);
  return found == tensors.end() ? nullptr : &*found;
}

Header read_header(const File& file) {
  const std::string name = file.path().string();
  const uint64_t file_bytes = file.size();
  if (file_bytes < kLengthBytes) {
    const std::string begins = beginning_of(file, file_bytes);
    const std::string_view what = begins.empty() ? "It is empty" : guess(begins);
    fail(
        "{}: {}{}{} bytes are too few for a safetensors file",
        name,
        what,
        what.empty() ? "" : ": ",
        file_bytes);
  }
  std::array<std::byte, kLengthBytes> start = {};
  file.read(0, start);
  const uint64_t length = read_little_endian(start);
  const uint64_t limit = std::min(kMaxHeaderBytes, file_bytes - kLengthBytes);
  if (length > limit) {
    const std::string begins = beginning_of(file, file_bytes);
    const bool cut = length <= kMaxHeaderBytes && begins.substr(kLengthBytes).starts_with('{');
    const std::string_view what = cut ? "" : guess(begins);
    if (!what.empty()) fail("{}: {}", name, what);
    fail(
        "{}: {}: its header is said to have {} bytes, expected at most {}",
        name,
        cut ? "It is cut off inside its header (an incomplete download?)"
            : "not a safetensors file, or damaged",
        length,
        limit);
  }
  if (length == 0) {
    fail(
        "{}: the header does not begin with '{{': the file begins with zeros. Perhaps an "
        "incomplete download?",
        name);
  }
  std::string text(static_cast<size_t>(length), '\0');
  file.read(kLengthBytes, std::as_writable_bytes(std::span(text)));
  return parse_header(text, file_bytes, name);
}

Header parse_header(std::string_view text, uint64_t file_bytes, std::string_view file_name) {
  if (text.size() > kMaxHeaderBytes || file_bytes < kLengthBytes ||
      text.size() > file_bytes - kLengthBytes) {
    fail("{}: the header has {} bytes, the file {}", file_name, text.size(), file_bytes);
  }
  if (!text.starts_with('{')) fail("{}: the header does not begin with '{{'", file_name);
  // nlohmann's lexer takes a zero byte for the end of the text and would not look behind it.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {
    fail("{}: the header is not valid JSON at its byte {}", file_name, zero);
  }
  Header header;
  header.data_begin = kLengthBytes + text.size();
  header.file_bytes = file_bytes;
  const uint64_t data_bytes = file_bytes - header.data_begin;
  HeaderReader reader(file_name, text.size(), data_bytes);
  Json::sax_parse(text, &reader);
  header.metadata = reader.take_metadata();
  header.tensors = reader.take_tensors();
  check_unique(header.tensors, file_name);
  // A tensor without bytes comes before the one that begins at the same place.
  std::ranges::stable_sort(header.tensors, {}, [](const TensorInfo& tensor) {
    return std::pair(tensor.offset, tensor.bytes);
  });
  check_layout(header.tensors, data_bytes, file_name);
  for (TensorInfo& tensor : header.tensors) tensor.offset += header.data_begin;
  return header;
}

std::string format_header(std::vector<TensorInfo>& tensors, const Metadata& metadata) {
  std::string text = "{";
  if (!metadata.empty()) text += fmt::format("\"{}\":{}", kMetadata, Json(metadata).dump());
  uint64_t end = 0;
  for (TensorInfo& tensor : tensors) {
    tensor.offset = end;
    tensor.bytes = tensor.spec.bytes();
    end += tensor.bytes;
    text += fmt::format(
        R"({}{}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})",
        text.size() == 1 ? "" : ",",
        Json(tensor.name).dump(),
        dtype_name(tensor.spec.dtype),
        Json(tensor.spec.shape).dump(),
        tensor.offset,
        end);
  }
  text += '}';
  const uint64_t used = (kLengthBytes + text.size()) % kDataAlignment;
  if (used != 0) text.append(static_cast<size_t>(kDataAlignment - used), ' ');
  for (TensorInfo& tensor : tensors) tensor.offset += kLengthBytes + text.size();

  std::string header;
  for (uint64_t i = 0; i < kLengthBytes; ++i) {
    header += static_cast<char>(text.size() >> (8 * i) & 0xff);
  }
  return header + text;
}

}  // namespace mflux::safetensors
