// SPDX-License-Identifier: MIT
// What several tests need: a folder that goes away, small safetensors files, the text of an error.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "mflux/base/error.h"
#include "mflux/base/tensor.h"
#include "mflux/safetensors/header.h"

namespace mflux::testing {

// $TMPDIR, or memory where there is plenty: a save waits for the device after every file, and on a
// disk the suite would mostly wait.
inline std::filesystem::path place_for_tests() {
  const std::filesystem::path memory = "/dev/shm";
  constexpr uint64_t kPlenty = uint64_t{512} << 20;
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(memory, error);
  if (std::getenv("TMPDIR") == nullptr && !error && space.available >= kPlenty) return memory;
  return std::filesystem::temp_directory_path();
}

// A new empty folder, removed with all it holds when the test ends.
class TempDir {
 public:
  TempDir() {
    std::string name = (place_for_tests() / "mflux-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) fail("cannot create {}", name);
    path_ = name;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!out) fail("cannot write {}", path.string());
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// The bytes of `values`, as they lie in memory (little-endian).
template <typename T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

struct TestTensor {
  std::string name;
  TensorSpec spec;
  std::vector<std::byte> data;  // spec.bytes() of them
};

inline TestTensor f32_tensor(std::string name, Shape shape, const std::vector<float>& values) {
  return {std::move(name), {Dtype::f32, std::move(shape)}, bytes_of(values)};
}

// The tensors in the order given, nothing sorted.
inline void write_safetensors(
    const std::filesystem::path& path,
    const std::vector<TestTensor>& tensors,
    const safetensors::Metadata& metadata = {}) {
  std::vector<safetensors::TensorInfo> infos;
  std::string data;
  for (const TestTensor& tensor : tensors) {
    infos.push_back({tensor.name, tensor.spec, 0, 0});
    data.append(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
  }
  write_file(path, safetensors::format_header(infos, metadata) + data);
}

// What the Error that `call` throws says; "" if it throws none.
template <typename Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace mflux::testing
