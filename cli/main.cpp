// SPDX-License-Identifier: MIT
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/program.h"
#include "cli/streams.h"
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

int refuse(std::string_view message, int status) {
  write_log(fmt::format("mflux: error: {}\n", message));
  return status;
}

int run(std::vector<std::string> arguments) try {
  return run_program(std::move(arguments));
} catch (const Error& error) {
  return refuse(error.what(), exit_status(error.kind()));
} catch (const std::bad_alloc&) {
  return refuse("out of memory", ExitStatus::failed);
} catch (const std::exception& error) {
  return refuse(printable(error.what()), ExitStatus::failed);
}

}  // namespace
}  // namespace mflux::cli

int main(int argc, char** argv) {
  using namespace mflux::cli;
  settle_streams();
  catch_interrupts();
  catch_lost_pages();
  return status_with_results(run(std::vector<std::string>(argv, argv + argc)));
}
