// SPDX-License-Identifier: MIT
#include "mflux/image/picture.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>
#include <span>

#include <turbojpeg.h>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/image/png.h"

namespace mflux {
namespace {

constexpr double kLobes = 3;
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

double lanczos(double x) {
  if (x == 0) return 1;
  if (std::abs(x) >= kLobes) return 0;
  const double angle = std::numbers::pi * x;
  return kLobes * std::sin(angle) * std::sin(angle / kLobes) / (angle * angle);
}

// The source pixels that make one of the result, and their weights.
struct Taps {
  int first = 0;
  std::vector<double> weights = {};
};

std::vector<Taps> taps_for(int from, int to) {
  const double scale = static_cast<double>(from) / to;
  const double stretch = std::max(scale, 1.0);
  const double support = kLobes * stretch;
  std::vector<Taps> result(static_cast<size_t>(to));
  for (int i = 0; i < to; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(center - support + 0.5));
    const int last = std::min(from, static_cast<int>(center + support + 0.5));
    Taps& taps = result[static_cast<size_t>(i)];
    taps.first = first;
    double sum = 0;
    for (int j = first; j < last; ++j) {
      taps.weights.push_back(lanczos((j + 0.5 - center) / stretch));
      sum += taps.weights.back();
    }
    for (double& weight : taps.weights) weight /= sum;
  }
  return result;
}

uint8_t to_byte(double value) {
  return static_cast<uint8_t>(std::clamp(std::floor(value + 0.5), 0.0, 255.0));
}

// `count` lines of `from` pixels, `step` bytes apart, become lines of `taps.size()` pixels. As in
// Pillow, each direction is rounded to bytes.
void resize_lines(
    std::span<const uint8_t> in,
    std::span<uint8_t> out,
    const std::vector<Taps>& taps,
    size_t lines,
    size_t line_step_in,
    size_t line_step_out,
    size_t pixel_step) {
  for (size_t line = 0; line < lines; ++line) {
    for (size_t i = 0; i < taps.size(); ++i) {
      for (size_t color = 0; color < 3; ++color) {
        double sum = 0;
        size_t at = line * line_step_in + static_cast<size_t>(taps[i].first) * pixel_step + color;
        for (const double weight : taps[i].weights) {
          sum += weight * in[at];
          at += pixel_step;
        }
        out[line * line_step_out + i * pixel_step + color] = to_byte(sum);
      }
    }
  }
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

Picture resize_lanczos(const Picture& picture, int height, int width) {
  if (height <= 0 || width <= 0 || picture.rgb.empty()) {
    fail(
        "a picture of {} x {} cannot become {} x {}", picture.width, picture.height, width, height);
  }
  if (picture.height == height && picture.width == width) return picture;
  const auto old_width = static_cast<size_t>(picture.width);
  const auto new_width = static_cast<size_t>(width);
  const auto old_height = static_cast<size_t>(picture.height);
  Picture wide{picture.height, width, std::vector<uint8_t>(old_height * new_width * 3)};
  resize_lines(
      picture.rgb,
      wide.rgb,
      taps_for(picture.width, width),
      old_height,
      old_width * 3,
      new_width * 3,
      3);
  Picture result{height, width, std::vector<uint8_t>(static_cast<size_t>(height) * new_width * 3)};
  resize_lines(
      wide.rgb, result.rgb, taps_for(picture.height, height), new_width, 3, 3, new_width * 3);
  return result;
}

}  // namespace mflux
