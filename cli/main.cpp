// SPDX-License-Identifier: MIT
#include <cstdio>
#include <new>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/program.h"
#include "mflux/base/error.h"

namespace mflux::cli {
namespace {

int exit_status(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::failed:
      return ExitStatus::failed;
    case ErrorKind::usage:
      return ExitStatus::usage;
    case ErrorKind::lora:
      return ExitStatus::lora;
    case ErrorKind::interrupted:
      return ExitStatus::interrupted_status;
  }
  return ExitStatus::failed;
}

}  // namespace
}  // namespace mflux::cli

int main(int argc, char** argv) try {
  mflux::cli::catch_interrupts();
  return mflux::cli::run_program(std::vector<std::string>(argv, argv + argc));
} catch (const mflux::Error& error) {
  fmt::print(stderr, "mflux: error: {}\n", error.what());
  return mflux::cli::exit_status(error.kind());
} catch (const std::bad_alloc&) {
  fmt::print(stderr, "mflux: error: out of memory\n");
  return mflux::cli::ExitStatus::failed;
} catch (const std::exception& error) {
  fmt::print(stderr, "mflux: error: {}\n", error.what());
  return mflux::cli::ExitStatus::failed;
}
