// SPDX-License-Identifier: MIT
// Bakes a LoRA into a model at 8 bits and proves the result: save MODEL LORA OUTPUT. The README
// quotes it.
#include <cstdio>

#include "mflux/mflux.h"

int main(int argc, char** argv) try {
  if (argc != 4) return 2;
  const mflux::SaveReport report = mflux::save({
      .model = argv[1],
      .output = argv[3],
      .bits = 8,
      .loras = {{.name = argv[2], .scale = 0.8}},
  });
  for (const mflux::LoraRecord& lora : report.receipt.loras) {
    std::printf(
        "%s: %zu layers, %.2f %% kept\n", lora.file.file.c_str(), lora.layers, 100 * lora.kept);
  }
  const mflux::VerifyReport proof = mflux::verify({.folder = argv[3]});
  std::puts(proof.passed() ? "verified" : "not verified");
  return proof.passed() ? 0 : 4;
} catch (const mflux::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
