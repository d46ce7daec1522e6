// SPDX-License-Identifier: MIT
#include "mflux/image/file_kind.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "mflux/base/error.h"

namespace mflux {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kReadable = "PNG, JPEG, WebP, TIFF, BMP and GIF";

// The first that fits counts.
constexpr auto kKinds = std::to_array<FileKind>({
    {"a PNG picture", 0, "\x89PNG"sv, decode_png_file},
    {"a JPEG picture", 0, "\xff\xd8\xff"sv, decode_jpeg},
    {"a WebP picture", 8, "WEBP"sv, decode_webp},
    {"a TIFF picture", 0, "II*\0"sv, decode_tiff},
    {"a TIFF picture", 0, "MM\0*"sv, decode_tiff},
    {"a TIFF picture", 0, "II+\0"sv, decode_tiff},
    {"a TIFF picture", 0, "MM\0+"sv, decode_tiff},
    {"a BMP picture", 0, "BM"sv, decode_bmp},
    {"a GIF picture", 0, "GIF87a"sv, decode_gif},
    {"a GIF picture", 0, "GIF89a"sv, decode_gif},
    {"an AVIF picture", 4, "ftypavif"sv},
    {"an AVIF animation", 4, "ftypavis"sv},
    {"a HEIC picture, as iPhones make them", 4, "ftyphei"sv},
    {"a HEIC picture, as iPhones make them", 4, "ftyphev"sv},
    {"a HEIF picture", 4, "ftypmif1"sv},
    {"a HEIF picture", 4, "ftypmsf1"sv},
    {"a camera's raw file (CR3)", 4, "ftypcrx "sv},
    {"a video (MP4 or MOV)", 4, "ftyp"sv},
    {"a video (MOV)", 4, "moov"sv},
    {"a video (Matroska or WebM)", 0, "\x1a\x45\xdf\xa3"sv},
    {"a video (AVI)", 8, "AVI "sv},
    {"a JPEG XL picture", 0, "\xff\x0a"sv},
    {"a JPEG XL picture", 4, "JXL \r\n"sv},
    {"a JPEG 2000 picture", 4, "jP  \r\n"sv},
    {"a JPEG 2000 picture", 0, "\xff\x4f\xff\x51"sv},
    {"a PDF document", 0, "%PDF"sv},
    {"a PostScript document", 0, "%!PS"sv},
    {"a Photoshop document", 0, "8BPS"sv},
    {"a GIMP document", 0, "gimp xcf"sv},
    {"an OpenEXR picture", 0, "\x76\x2f\x31\x01"sv},
    {"a Radiance HDR picture", 0, "#?RADIANCE"sv},
    {"a DDS picture", 0, "DDS "sv},
    {"a QOI picture", 0, "qoif"sv},
    {"an icon (ICO)", 0, "\0\0\1\0"sv},
    {"a camera's raw file (RAF)", 0, "FUJIFILM"sv},
    {"a Netpbm picture (PBM, PGM, PPM)", 0, "P1\n"sv},
    {"a Netpbm picture (PBM, PGM, PPM)", 0, "P2\n"sv},
    {"a Netpbm picture (PBM, PGM, PPM)", 0, "P3\n"sv},
    {"a Netpbm picture (PBM, PGM, PPM)", 0, "P4\n"sv},
    {"a Netpbm picture (PBM, PGM, PPM)", 0, "P5\n"sv},
    {"a Netpbm picture (PBM, PGM, PPM)", 0, "P6\n"sv},
    {"a ZIP archive", 0, "PK\3\4"sv},
    {"a gzip archive", 0, "\x1f\x8b"sv},
    {"a pointer of Git LFS, not the picture itself", 0, "version https://git-lfs"sv},
});

// Of text: compared in lower case, after a byte order mark and white space.
constexpr auto kTextKinds = std::to_array<std::pair<std::string_view, std::string_view>>({
    {"<svg", "an SVG drawing"},
    {"<!doctype svg", "an SVG drawing"},
    {"<!doctype html", "a web page"},
    {"<html", "a web page"},
    {"{", "JSON text"},
});

bool has_mark(std::string_view content, const FileKind& kind) {
  return content.size() >= kind.at && content.substr(kind.at).starts_with(kind.mark);
}

std::string_view text_kind(std::string_view content) {
  constexpr size_t kLooked = 1024;  // an SVG may begin with comments
  std::string text(content.substr(0, kLooked));
  std::ranges::transform(
      text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);
  const size_t begin = std::min(text.find_first_not_of(" \t\r\n"), text.size());
  const std::string_view from(text.data() + begin, text.size() - begin);
  if (from.starts_with("<?xml") || from.starts_with("<!--")) {
    return from.find("<svg") != from.npos ? "an SVG drawing" : "XML text";
  }
  for (const auto& [mark, title] : kTextKinds) {
    if (from.starts_with(mark)) return title;
  }
  return {};
}

}  // namespace

const FileKind& file_kind(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.empty()) fail("{}: is empty", name);
  const std::string_view content(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto found =
      std::ranges::find_if(kKinds, [&](const FileKind& k) { return has_mark(content, k); });
  if (found != kKinds.end() && found->decode != nullptr) return *found;
  const std::string_view title = found != kKinds.end() ? found->title : text_kind(content);
  if (!title.empty()) fail("{}: is {}; pictures are read as {}", name, title, kReadable);
  fail("{}: is not a picture of a known kind; {} are read", name, kReadable);
}

}  // namespace mflux
