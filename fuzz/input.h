// SPDX-License-Identifier: MIT
// What the targets make of a fuzzer's bytes.
//
//   extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
//     static Folder folder;
//     const Laid files(folder, split(text_of(data, size), "model.safetensors"));
//     refusable([] { safetensors::open_folder(folder.path()); });
//     return 0;
//   }
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/testing.h"

namespace mflux::fuzz {

// What a target is.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

struct Entry {
  std::string name;  // relative, of a few plain characters, stays in its folder
  std::string_view bytes;
};

// One input that holds several files, each under a line "@@ name". What stands before the first is
// a file named `first`; one without any such line is just that file.
std::vector<Entry> split(std::string_view input, std::string_view first);

// A safetensors file from what may be its JSON alone: the length before it, and zeros behind it for
// as long as the offsets say, up to `most` bytes. What does not begin with "{" is left as it is.
struct Whole {
  std::string bytes;
  uint64_t size = 0;  // of the file; behind `bytes` are zeros
};
Whole as_safetensors(std::string_view bytes, uint64_t most);

// A folder that every run finds as it was. What lies in it before the first run is its base.
class Folder {
 public:
  const std::filesystem::path& path() const { return dir_.path(); }
  // Over files of the base, which come back. Names that cannot be are skipped.
  void write(const std::vector<Entry>& entries);
  void restore();

 private:
  void write(const std::filesystem::path& file, std::string_view name, std::string_view bytes);

  mflux::testing::TempDir dir_;
  mflux::testing::TempDir aside_;
  std::vector<std::filesystem::path> written_;  // files and folders, in order
  std::vector<std::pair<std::filesystem::path, std::filesystem::path>> moved_;  // from, to
};

// The entries lie in the folder as long as this lives.
class Laid {
 public:
  Laid(Folder& folder, const std::vector<Entry>& entries) : folder_(folder) {
    folder_.write(entries);
  }
  ~Laid() { folder_.restore(); }
  Laid(const Laid&) = delete;
  Laid& operator=(const Laid&) = delete;

 private:
  Folder& folder_;
};

// Runs `body`. An Error is an answer like any other; all else that is thrown ends the process, and
// so does a message that is empty. With FUZZ_ERRORS in the environment what it says is shown.
void refusable(const std::function<void()>& body);

// Ends the process, naming what did not hold.
void require(bool holds, const char* what);

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace mflux::fuzz
