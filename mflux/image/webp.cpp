// SPDX-License-Identifier: MIT
#include <algorithm>
#include <memory>
#include <string_view>

#include <webp/decode.h>
#include <webp/demux.h>

#include "mflux/base/error.h"
#include "mflux/image/decoded.h"
#include "mflux/image/orientation.h"

namespace mflux {
namespace {

using Demuxer = std::unique_ptr<WebPDemuxer, void (*)(WebPDemuxer*)>;
using AnimationDecoder = std::unique_ptr<WebPAnimDecoder, void (*)(WebPAnimDecoder*)>;

std::string_view chunk(const WebPDemuxer* demuxer, const char* name) {
  WebPChunkIterator iterator;
  if (WebPDemuxGetChunk(demuxer, name, 1, &iterator) == 0) return {};
  const std::string_view data(
      reinterpret_cast<const char*>(iterator.chunk.bytes), iterator.chunk.size);
  WebPDemuxReleaseChunkIterator(&iterator);  // the bytes are the file's own
  return data;
}

bool decode_still(const WebPData& data, Decoded& out) {
  const auto decode = out.channels == 4 ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  return decode(
             data.bytes,
             data.size,
             out.values.data(),
             out.values.size(),
             out.width * out.channels) != nullptr;
}

bool decode_first_frame(const WebPData& data, Decoded& out) {
  const AnimationDecoder decoder(WebPAnimDecoderNew(&data, nullptr), &WebPAnimDecoderDelete);
  uint8_t* rgba = nullptr;
  int time = 0;
  if (decoder == nullptr || WebPAnimDecoderGetNext(decoder.get(), &rgba, &time) == 0) return false;
  const auto channels = static_cast<size_t>(out.channels);
  for (size_t i = 0; i < out.values.size() / channels; ++i) {
    std::copy_n(rgba + i * 4, channels, out.values.begin() + static_cast<ptrdiff_t>(i * channels));
  }
  return true;
}

}  // namespace

Decoded decode_webp(std::span<const std::byte> bytes, const std::string& name) {
  const WebPData data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  const Demuxer demuxer(WebPDemux(&data), &WebPDemuxDelete);
  if (demuxer == nullptr) fail("{}: the WebP is damaged or cut short", name);
  const uint32_t flags = WebPDemuxGetI(demuxer.get(), WEBP_FF_FORMAT_FLAGS);
  Decoded decoded = make_decoded(
      name,
      WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT),
      WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH),
      (flags & ALPHA_FLAG) != 0 ? 4 : 3);
  const std::string_view exif = chunk(demuxer.get(), "EXIF");
  decoded.orientation =
      orientation_of(std::as_bytes(std::span(exif)), chunk(demuxer.get(), "XMP "));
  const bool done = (flags & ANIMATION_FLAG) != 0 ? decode_first_frame(data, decoded)
                                                  : decode_still(data, decoded);
  if (!done) fail("{}: the WebP is damaged", name);
  return decoded;
}

}  // namespace mflux
