// SPDX-License-Identifier: MIT
// Runs a target without libFuzzer, the same way every time:
//
//   fuzz_header [--changes N] FILE|FOLDER...
//
// runs every file, then N changed ones. A crash, an exception and a run that takes too long are
// shown with the input, which is left in crash-TARGET.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "fuzz/input.h"
#include "fuzz/mutate.h"

namespace mflux::fuzz {
namespace fs = std::filesystem;
namespace {

// Of processor time for one run: that of a small input, and of every MB more.
#if defined(__SANITIZE_ADDRESS__)
constexpr time_t kSlower = 10;
#else
constexpr time_t kSlower = 1;
#endif
constexpr time_t kSeconds = 1 * kSlower;
constexpr time_t kSecondsPerMegabyte = 1 * kSlower;
constexpr size_t kLongest = 200'000;  // bytes of a changed input

std::string current;  // the input of this run
std::string keep_as;  // where it is left if the run ends the process

// Only what is safe in a signal handler.
void on_signal(int signal) {
  const int file = ::open(keep_as.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  bool written = ::write(file, current.data(), current.size()) == ssize_t(current.size());
  const std::string_view text =
      signal == SIGPROF ? "took too long; the input is in " : "crashed; the input is in ";
  written = ::write(STDERR_FILENO, text.data(), text.size()) >= 0 && written;
  written = ::write(STDERR_FILENO, keep_as.data(), keep_as.size()) >= 0 && written;
  written = ::write(STDERR_FILENO, "\n", 1) >= 0 && written;
  ::_exit(written ? 1 : 3);
}

void watch_signals() {
  static std::array<char, 65536> stack;  // where the other one has overflowed
  stack_t alternative = {};
  alternative.ss_sp = stack.data();
  alternative.ss_size = stack.size();
  ::sigaltstack(&alternative, nullptr);
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_ONSTACK;
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGPROF}) {
    ::sigaction(signal, &action, nullptr);
  }
}

void allow_seconds(time_t seconds) {
  const itimerval limit = {.it_interval = {}, .it_value = {.tv_sec = seconds, .tv_usec = 0}};
  ::setitimer(ITIMER_PROF, &limit, nullptr);
}

double processor_seconds() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return double(t.tv_sec) + double(t.tv_usec) * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Slowest {
  double seconds = 0;
  size_t bytes = 0;
};

void run(std::string input, Slowest& slowest) {
  current = std::move(input);
  const auto megabytes = static_cast<time_t>(current.size() >> 20);
  const double before = processor_seconds();
  allow_seconds(kSeconds + kSecondsPerMegabyte * megabytes);
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(current.data()), current.size());
  allow_seconds(0);
  const double seconds = processor_seconds() - before;
  if (seconds > slowest.seconds) slowest = {seconds, current.size()};
}

// Integers that limits lie at, as bytes and as digits.
constexpr std::array kNumbers = {
    "0",
    "-1",
    "1e999",
    "0.5",
    "255",
    "65536",
    "2147483647",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616"};

void set_number(std::string& input, Random& random) {
  const size_t digit = input.find_first_of("0123456789", random.below(input.size()));
  if (digit == input.npos) return;
  const size_t end = std::min(input.find_first_not_of("0123456789", digit), input.size());
  input.replace(digit, end - digit, kNumbers[random.below(kNumbers.size())]);
}

void set_bytes(std::string& input, Random& random) {
  constexpr std::array<uint64_t, 8> kValues = {
      0, 1, 0x7f, 0xff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, 0xffffffffffffffff};
  const uint64_t value = kValues[random.below(kValues.size())];
  const size_t at = random.below(input.size());
  const size_t length = std::min<size_t>(size_t{1} << random.below(4), input.size() - at);
  input.replace(at, length, std::string_view(reinterpret_cast<const char*>(&value), length));
}

void change(std::string& input, const std::vector<std::string>& all, Random& random) {
  if (input.empty()) input = "{";
  const size_t at = random.below(input.size());
  switch (random.below(8)) {
    case 0:
      input[at] = static_cast<char>(input[at] ^ char(1 << random.below(8)));
      break;
    case 1:
      input[at] = "\"\\[]{},:.-/_ \n\t\0\x80\xff"[random.below(18)];
      break;
    case 2:
      input.resize(at);
      break;
    case 3:
      input.erase(at, 1 + random.below(64));
      break;
    case 4:
      set_number(input, random);
      break;
    case 5:
      set_bytes(input, random);
      break;
    case 6:
      repeat_piece(input, random, kLongest);
      break;
    default: {  // the rest of another
      const std::string& other = all[random.below(all.size())];
      input.resize(at);
      input.append(other, random.below(other.size() + 1));
    }
  }
}

std::vector<std::string> read_inputs(const std::vector<fs::path>& paths) {
  std::map<std::string, std::string> by_name;  // the same order everywhere
  const auto read = [&](const fs::path& file) {
    by_name[file.string()] = mflux::testing::read_file(file);
  };
  for (const fs::path& path : paths) {
    if (!fs::is_directory(path)) {
      read(path);
      continue;
    }
    for (const auto& entry : fs::directory_iterator(path)) read(entry.path());
  }
  std::vector<std::string> inputs;
  for (auto& [name, bytes] : by_name) inputs.push_back(std::move(bytes));
  return inputs;
}

int main(const std::vector<std::string>& arguments) {
  size_t changes = 0;
  std::vector<fs::path> paths;
  for (size_t i = 1; i < arguments.size(); ++i) {
    const bool counts = arguments[i] == "--changes" && i + 1 < arguments.size();
    if (counts) {
      changes = std::stoul(arguments[++i]);
    } else {
      paths.emplace_back(arguments[i]);
    }
  }
  const std::vector<std::string> inputs = read_inputs(paths);
  if (inputs.empty()) {
    fmt::print(stderr, "no inputs; expected: {} [--changes N] FILE|FOLDER...\n", arguments[0]);
    return 2;
  }
  keep_as = "crash-" + fs::path(arguments[0]).filename().string();
  watch_signals();
  Slowest slowest;
  for (const std::string& input : inputs) run(input, slowest);
  Random random(1);
  for (size_t i = 0; i < changes; ++i) {
    std::string input = inputs[random.below(inputs.size())];
    for (uint64_t n = 1 + random.below(4); n > 0; --n) change(input, inputs, random);
    run(std::move(input), slowest);
  }
  fmt::print(
      "{} inputs and {} changed ones; the slowest took {:.3f} s for {} bytes\n",
      inputs.size(),
      changes,
      slowest.seconds,
      slowest.bytes);
  return 0;
}

}  // namespace
}  // namespace mflux::fuzz

int main(int argc, char** argv) {
  return mflux::fuzz::main({argv, argv + argc});
}
