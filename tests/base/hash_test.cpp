// SPDX-License-Identifier: MIT
#include "mflux/base/hash.h"

#include <string>

#include <doctest/doctest.h>

#include "tests/testing.h"

namespace mflux {
namespace {

using testing::TempDir;
using testing::write_file;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string long_text() {
  std::string text(3'000'001, '\0');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * i >> 7);
  return text;
}

TEST_CASE("XXH3-128 is what xxhsum -H2 prints") {
  CHECK(hash_text("") == "99aa06d3014798d86001c324468d497f");
  CHECK(hash_text("abc") == "06b05ab6733a618578af5f94892f3950");
}

TEST_CASE("a hash in pieces is the hash of the whole") {
  const std::string text = long_text();
  Hash hash;
  for (size_t i = 0; i < text.size(); i += 777'777) hash.update(bytes_of(text.substr(i, 777'777)));
  CHECK(hash.hex() == hash_text(text));
}

TEST_CASE("a file's hash is the hash of its bytes") {
  const TempDir folder;
  write_file(folder / "x", long_text());
  CHECK(hash_file(folder / "x") == hash_text(long_text()));
}

TEST_CASE("a streamed hash reads what was skipped and ignores what comes twice") {
  const TempDir folder;
  const std::string text = long_text();
  write_file(folder / "x", text);
  const File file = File::open(folder / "x");
  const auto part = [&](uint64_t begin, uint64_t end) {
    return bytes_of(text).subspan(begin, end - begin);
  };
  StreamedHash hash(file);
  hash.advance(100, part(100, 1000));
  hash.advance(50, part(50, 500));     // all of it seen
  hash.advance(500, part(500, 2000));  // half of it seen
  hash.advance(2'000'000, part(2'000'000, 2'500'000));
  CHECK(hash.finish() == hash_text(text));
  CHECK(StreamedHash(file).finish() == hash_text(text));
}

TEST_CASE("a file written in any order of pieces has the hash of its bytes") {
  const TempDir folder;
  const std::string text = long_text();
  for (const size_t step : {1U, 3U, 7U}) {  // coprime to the 10 pieces: each comes once
    CAPTURE(step);
    const File file = File::create(folder / std::to_string(step), text.size());
    WrittenHash hash(file);
    for (size_t i = 0; i < 10; ++i) {
      const size_t begin = i * step % 10 * 300'000;
      const size_t end = i * step % 10 == 9 ? text.size() : begin + 300'000;
      const auto piece = bytes_of(text).subspan(begin, end - begin);
      file.write(begin, piece);
      hash.add(begin, piece);
    }
    CHECK(hash.finish() == hash_text(text));
  }
}

TEST_CASE("sha256 is what sha256sum prints") {
  const TempDir folder;
  write_file(folder / "empty", "");
  write_file(folder / "abc", "abc");
  CHECK(
      sha256_file(folder / "empty") ==
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(
      sha256_file(folder / "abc") ==
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_text("abc") == sha256_file(folder / "abc"));
  write_file(folder / "long", long_text());
  CHECK(sha256_text(long_text()) == sha256_file(folder / "long"));
}

TEST_CASE("a link into blobs tells its sha256, any other file none") {
  const TempDir folder;
  const std::string name(64, 'a');
  std::filesystem::create_directories(folder / "blobs");
  std::filesystem::create_directories(folder / "snapshots");
  write_file(folder / "blobs" / name, "x");
  write_file(folder / "blobs" / "short", "x");
  write_file(folder / name, "x");
  const auto link = [&](const std::string& blob) {
    std::filesystem::create_symlink("../blobs/" + blob, folder / "snapshots" / (blob + ".link"));
    return blob_sha256(folder / "snapshots" / (blob + ".link"));
  };
  CHECK(link(name) == name);
  CHECK(link("short") == "");
  CHECK(link(std::string(64, 'b')) == "");  // dangles
  CHECK(blob_sha256(folder / name) == "");
}

}  // namespace
}  // namespace mflux
