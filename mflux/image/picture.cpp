// SPDX-License-Identifier: MIT
#include "mflux/image/picture.h"

#include <memory>
#include <span>

#include <turbojpeg.h>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/image/png.h"

namespace mflux {
namespace {

constexpr int64_t kMostPixels = 100'000'000;

Picture decode_jpeg(std::span<const std::byte> bytes, const std::string& name) {
  const std::unique_ptr<void, int (*)(tjhandle)> handle(tjInitDecompress(), &tjDestroy);
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto size = static_cast<unsigned long>(bytes.size());
  Picture picture;
  int subsampling = 0;
  int colors = 0;
  if (handle == nullptr ||
      tjDecompressHeader3(
          handle.get(), data, size, &picture.width, &picture.height, &subsampling, &colors) != 0) {
    fail("{}: not a readable JPEG: {}", name, tjGetErrorStr2(handle.get()));
  }
  if (int64_t{picture.width} * picture.height > kMostPixels) {
    fail("{}: {} x {} pixels are too many", name, picture.width, picture.height);
  }
  picture.rgb.resize(static_cast<size_t>(picture.width) * static_cast<size_t>(picture.height) * 3);
  if (tjDecompress2(
          handle.get(),
          data,
          size,
          picture.rgb.data(),
          picture.width,
          0,
          picture.height,
          TJPF_RGB,
          TJFLAG_ACCURATEDCT) != 0 &&
      tjGetErrorCode(handle.get()) == TJERR_FATAL) {
    fail("{}: not a readable JPEG: {}", name, tjGetErrorStr2(handle.get()));
  }
  return picture;
}

}  // namespace

Picture read_picture(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::span<const std::byte> bytes = file.bytes();
  const auto begins = [&](unsigned first, unsigned second) {
    return bytes.size() > 2 && std::to_integer<unsigned>(bytes[0]) == first &&
           std::to_integer<unsigned>(bytes[1]) == second;
  };
  if (begins(0x89, 'P')) return decode_png(bytes, path.string());
  if (begins(0xff, 0xd8)) return decode_jpeg(bytes, path.string());
  fail("{}: neither a PNG nor a JPEG picture", path.string());
}

}  // namespace mflux
