// SPDX-License-Identifier: MIT
#include "mflux/bake/receipt_seal.h"

#include <fmt/format.h>

#include "mflux/base/hash.h"

namespace mflux {
namespace {

constexpr std::string_view kEnd = "\n}";  // of a JSON object indented by 1

std::string sealed(std::string_view body) {
  return fmt::format("{},\n \"{}\": \"{}\"{}\n", body, kReceiptSeal, hash_text(body), kEnd);
}

}  // namespace

std::string seal_receipt(std::string_view json) {
  return sealed(json.substr(0, json.size() - kEnd.size()));
}

std::string seal_problem(std::string_view receipt) {
  const std::string begin = fmt::format(",\n \"{}\": ", kReceiptSeal);
  const size_t at = receipt.rfind(begin);
  if (at != receipt.npos && receipt == sealed(receipt.substr(0, at))) return "";
  return fmt::format("its bytes do not match its {}: it was changed after the save", kReceiptSeal);
}

}  // namespace mflux
