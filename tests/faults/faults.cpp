// SPDX-License-Identifier: MIT
#include "tests/faults/faults.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <sstream>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/skip.h"

namespace mflux::testing {
namespace {

#ifdef MFLUX_INJECTOR
constexpr const char* kInjector = MFLUX_INJECTOR;
#else
constexpr const char* kInjector = "";
#endif

bool changes(const std::string& name) {
  return contains(fmt::format(",{},", kChanging), "," + name + ",");
}

}  // namespace

bool can_inject() {
  const bool can = *kInjector != '\0';
  if (!can) skip("faults are injected on Linux, and not beside a sanitizer");
  return can;
}

ProgramCall lacking(ProgramCall call, const std::string& calls) {
  if (calls.empty()) return call;
  call.environment.emplace_back("LD_PRELOAD", kInjector);
  call.environment.emplace_back("FAULT_LACKS", calls);
  return call;
}

ProgramCall spoiled(ProgramCall call, const Fault& fault) {
  const std::vector<std::pair<std::string, std::string>> settings = {
      {"LD_PRELOAD", kInjector},
      {"FAULT_BELOW", fault.below.string()},
      {"FAULT_CALLS", fault.calls},
      {"FAULT_DO", fault.what},
      {"FAULT_AT", std::to_string(fault.at)},
      {"FAULT_LASTS", fault.lasts ? "1" : ""}};
  call.environment.insert(call.environment.end(), settings.begin(), settings.end());
  return call;
}

std::vector<std::string> calls_of(
    ProgramCall call, const std::filesystem::path& below, const char* calls) {
  const TempDir folder;
  call = spoiled(std::move(call), {.calls = calls, .below = below, .at = 0});
  call.environment.emplace_back("FAULT_LOG", (folder / "log").string());
  const ProgramRun run = run_program(call);
  REQUIRE_MESSAGE(run.status == 0, run.err);
  std::istringstream log(read_file(folder / "log"));
  std::vector<std::string> result;
  for (std::string line; std::getline(log, line);) result.push_back(line);
  REQUIRE_FALSE(result.empty());
  return result;
}

bool try_all() {
  const char* value = std::getenv("MFLUX_FAULTS");
  return value != nullptr && std::string_view(value) == "all";
}

std::vector<size_t> points(const std::vector<std::string>& calls) {
  constexpr size_t kReads = 3;
  std::map<std::string, std::vector<size_t>> by_kind;
  for (size_t i = 0; i < calls.size(); ++i) {
    const std::string name = calls[i].substr(0, calls[i].find(' '));
    const std::string folder = calls[i].substr(0, calls[i].rfind('/'));
    by_kind[changes(name) ? folder : name].push_back(i + 1);
  }
  std::vector<size_t> result;
  for (const auto& [kind, all] : by_kind) {
    const size_t few = contains(kind, " ") ? 1 : kReads;
    const size_t count = try_all() ? all.size() : std::min(few, all.size());
    for (size_t i = 0; i < count; ++i)
      result.push_back(all[(2 * i + 1) * all.size() / (2 * count)]);
  }
  std::ranges::sort(result);
  return result;
}

void Tries::begin(std::string point) {
  point_ = std::move(point);
  ++tried_;
}

void Tries::check(bool holds, std::string_view promise) {
  if (!holds) broken_[point_].emplace_back(promise);
}

void Tries::conclude() const {
  constexpr size_t kShown = 10;
  MESSAGE("figure: " << title_ << ": " << tried_ << " tried, " << broken_.size() << " broken");
  std::string shown;
  size_t count = 0;
  for (const auto& [point, promises] : broken_) {
    if (++count > kShown) break;
    shown += fmt::format("\n  {}: {} (and {} more)", point, promises[0], promises.size() - 1);
  }
  CHECK_MESSAGE(broken_.empty(), title_, shown);
}

}  // namespace mflux::testing
