// SPDX-License-Identifier: MIT
// The subcommands. Each adds its options to the parser and returns what to run once they are
// parsed.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace CLI {
class App;
}

namespace mflux::cli {

// Exit statuses, as docs and contract have them.
enum ExitStatus : int {
  done = 0,
  failed = 1,
  usage = 2,
  lora = 3,
  difference = 4,
  interrupted_status = 130
};

struct Program {
  // Set by names such as mflux-generate-qwen.
  std::optional<std::string> required_family = {};
  std::string model = {};
};

using Command = std::function<int()>;

Command add_save(CLI::App& app, const Program& program);
Command add_verify(CLI::App& app, const Program& program);
Command add_inspect(CLI::App& app, const Program& program);
Command add_compare(CLI::App& app, const Program& program);
Command add_report(CLI::App& app, const Program& program);
Command add_generate(CLI::App& app, const Program& program);
Command add_completion(CLI::App& app, const Program& program);
Command add_manual(CLI::App& app, const Program& program);

}  // namespace mflux::cli
