// SPDX-License-Identifier: MIT
// Proves a saved folder again, from its files: index, headers, hashes, receipt; and with the base
// model at hand, bit for bit by baking it a second time without writing.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mflux/events.h"
#include "mflux/options.h"

namespace mflux {

struct VerifyOptions {
  std::filesystem::path folder = {};
  std::optional<std::string> base = {};  // the model it was made from: bakes again and compares
  std::vector<LoraRequest> loras = {};   // with base: the LoRAs, in order
};

struct Check {
  std::string name = {};
  bool passed = true;
  std::string detail = {};  // what was found; what was expected, if it failed
};

struct VerifyReport {
  std::vector<Check> checks = {};
  // What a picture needs and this folder was never meant to hold, such as the text encoders of a
  // transformer alone.
  std::vector<std::string> absent = {};
  bool passed() const;
};

// Throws Error only if the folder cannot be read at all or the options make no sense; what is wrong
// with it is in the report.
VerifyReport verify(const VerifyOptions& options, const SaveEvents& events = {});

}  // namespace mflux
