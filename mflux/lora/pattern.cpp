// SPDX-License-Identifier: MIT
// A pattern is compiled to steps, of which all that could be next are followed at once through the
// name (Thompson's construction): there is no going back, so no pattern of a file can take long.
// Most patterns are plain text, which is compared as it is.
#include "mflux/lora/pattern.h"

#include <algorithm>
#include <utility>

namespace mflux::lora {
namespace {

using Step = Pattern::Step;
using Program = std::vector<Step>;
using Characters = std::bitset<256>;

constexpr size_t kMaxSteps = 500;
constexpr int kMaxDepth = 16;
constexpr size_t kMaxLiteral = 1000;
constexpr char kAny = '\0';

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_plain(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

Characters one(char c) {
  Characters set;
  set.set(static_cast<unsigned char>(c));
  return set;
}

Characters range(char first, char last) {
  Characters set;
  for (int c = static_cast<unsigned char>(first); c <= static_cast<unsigned char>(last); ++c) {
    set.set(static_cast<size_t>(c));
  }
  return set;
}

// The set behind a backslash; none if it is not a set.
std::optional<Characters> escaped(char c) {
  const Characters digits = range('0', '9');
  const Characters words = digits | range('a', 'z') | range('A', 'Z') | one('_');
  const Characters spaces = one(' ') | range('\t', '\r');
  switch (c) {
    case 'd':
      return digits;
    case 'D':
      return ~digits;
    case 'w':
      return words;
    case 'W':
      return ~words;
    case 's':
      return spaces;
    case 'S':
      return ~spaces;
    default:
      if (is_plain(c) && c != '_' && c != '-') return std::nullopt;  // \b, \A, \1: no sets
      return one(c);
  }
}

void append(Program& to, const Program& what) {
  to.insert(to.end(), what.begin(), what.end());
}

int length(const Program& program) {
  return static_cast<int>(program.size());
}

Step split(int first, int second) {
  return {Step::Kind::split, {}, first, second};
}

Program optional_of(const Program& what) {
  Program program = {split(1, length(what) + 1)};
  append(program, what);
  return program;
}

Program repeated(const Program& what) {
  Program program = {split(1, length(what) + 2)};
  append(program, what);
  program.push_back({Step::Kind::jump, {}, -(length(what) + 1), 0});
  return program;
}

// Recursive descent; every function leaves failed() set if the text is not understood.
class Compiler {
 public:
  explicit Compiler(std::string_view text) : text_(text) {}

  std::optional<Program> compile() {
    Program program = choice(0);
    if (failed_ || at_ != text_.size()) return std::nullopt;
    return program;
  }

 private:
  bool more() const { return !failed_ && at_ < text_.size(); }
  bool take(char c) {
    if (!more() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  Program fail() {
    failed_ = true;
    return {};
  }

  Program choice(int depth) {
    if (depth > kMaxDepth) return fail();
    Program left = sequence(depth);
    while (take('|')) {
      const Program right = sequence(depth);
      Program both = {split(1, length(left) + 2)};
      append(both, left);
      both.push_back({Step::Kind::jump, {}, length(right) + 1, 0});
      append(both, right);
      left = std::move(both);
    }
    return left;
  }

  Program sequence(int depth) {
    Program program;
    while (more() && text_[at_] != '|' && text_[at_] != ')') {
      append(program, repetition(depth));
      if (program.size() > kMaxSteps) return fail();
    }
    return program;
  }

  Program repetition(int depth) {
    Program program = atom(depth);
    while (more()) {
      if (take('*')) {
        program = repeated(program);
      } else if (take('+')) {
        const Program again = repeated(program);
        append(program, again);
      } else if (take('?')) {
        program = optional_of(program);
      } else if (text_[at_] == '{' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1])) {
        program = counted(program);
      } else {
        break;
      }
      take('?');  // lazy: the same names match
      if (program.size() > kMaxSteps) return fail();
    }
    return program;
  }

  size_t number() {
    size_t value = 0;
    while (more() && is_digit(text_[at_]) && value <= kMaxSteps) {
      value = value * 10 + static_cast<size_t>(text_[at_++] - '0');
    }
    return value;
  }

  // {2}, {2,} or {2,5}
  Program counted(const Program& what) {
    ++at_;
    const size_t least = number();
    const bool open = take(',');
    const bool endless = open && more() && text_[at_] == '}';
    const size_t most = open && !endless ? number() : least;
    const size_t steps = (std::max(least, most) + 1) * (what.size() + 2);
    if (!take('}') || most < least || steps > kMaxSteps) return fail();
    Program program;
    for (size_t i = 0; i < least; ++i) append(program, what);
    for (size_t i = least; i < most; ++i) append(program, optional_of(what));
    if (endless) append(program, repeated(what));
    return program;
  }

  Program atom(int depth) {
    const char c = text_[at_++];
    switch (c) {
      case '(': {
        if (take('?') && !take(':')) return fail();
        Program program = choice(depth + 1);
        return take(')') ? program : fail();
      }
      case '[':
        return character_class();
      case '.':
        return {{Step::Kind::one_of, ~one('\n')}};
      case '^':
        return {{Step::Kind::begin}};
      case '$':
        return {{Step::Kind::end}};
      case '\\': {
        const auto set = more() ? escaped(text_[at_++]) : std::nullopt;
        return set ? Program{{Step::Kind::one_of, *set}} : fail();
      }
      case '*':
      case '+':
      case '?':
        return fail();
      default:
        return {{Step::Kind::one_of, one(c)}};
    }
  }

  Program character_class() {
    const bool negated = take('^');
    Characters set;
    for (bool first = true; more() && (first || text_[at_] != ']'); first = false) {
      char c = text_[at_++];
      if (c == '\\') {
        const auto escape = more() ? escaped(text_[at_++]) : std::nullopt;
        if (!escape) return fail();
        set |= *escape;
        continue;
      }
      if (at_ + 1 < text_.size() && text_[at_] == '-' && text_[at_ + 1] != ']') {
        const char last = text_[at_ + 1];
        if (last == '\\') return fail();
        set |= range(c, last);
        at_ += 2;
      } else {
        set |= one(c);
      }
    }
    if (!take(']')) return fail();
    return {{Step::Kind::one_of, negated ? ~set : set}};
  }

  std::string_view text_;
  size_t at_ = 0;
  bool failed_ = false;
};

// The steps that wait for a character, given those reached so far.
class Threads {
 public:
  explicit Threads(const Program& program) : program_(&program), seen_(program.size() + 1) {}

  void clear() {
    waiting_.clear();
    seen_.assign(seen_.size(), false);
  }

  void add(size_t step, bool at_begin, bool at_end) {
    todo_.push_back(step);
    while (!todo_.empty()) {
      const size_t now = todo_.back();
      todo_.pop_back();
      if (seen_[now]) continue;
      seen_[now] = true;
      if (now == program_->size()) continue;
      const Step& s = (*program_)[now];
      const auto to = [&](int offset) { todo_.push_back(now + static_cast<size_t>(offset)); };
      if (s.kind == Step::Kind::one_of) waiting_.push_back(now);
      if (s.kind == Step::Kind::jump || s.kind == Step::Kind::split) to(s.first);
      if (s.kind == Step::Kind::split) to(s.second);
      if (s.kind == Step::Kind::begin && at_begin) to(1);
      if (s.kind == Step::Kind::end && at_end) to(1);
    }
  }

  const std::vector<size_t>& waiting() const { return waiting_; }
  bool done() const { return seen_.back(); }

 private:
  const Program* program_;
  std::vector<bool> seen_;
  std::vector<size_t> waiting_;
  std::vector<size_t> todo_;
};

bool starts_here(std::string_view text, size_t at) {
  return at == 0 || text[at - 1] == '.';
}

// A text without alternatives and repetitions, as most patterns are; none if it is more.
std::optional<std::string> plain_text(std::string_view text) {
  std::string plain;
  for (size_t at = 0; at < text.size(); ++at) {
    const bool escaped_dot = text.substr(at).starts_with("\\.");
    if (escaped_dot) ++at;
    if (!escaped_dot && !is_plain(text[at]) && text[at] != '.') return std::nullopt;
    plain += text[at] == '.' && !escaped_dot ? kAny : text[at];
  }
  if (plain.empty() || plain.size() > kMaxLiteral) return std::nullopt;
  return plain;
}

}  // namespace

std::optional<Pattern> Pattern::parse(std::string_view text) {
  Pattern pattern;
  std::string_view inner = text;
  if (inner.starts_with('^')) inner.remove_prefix(1);
  if (inner.ends_with('$')) inner.remove_suffix(1);  // it matches to the end anyway
  if (auto plain = plain_text(inner)) {
    pattern.literal_ = std::move(*plain);
    pattern.whole_ = text.starts_with('^');
    return pattern;
  }
  std::optional<Program> program = Compiler(text).compile();
  if (!program) return std::nullopt;
  pattern.program_ = std::move(*program);
  return pattern;
}

bool Pattern::matches(std::string_view module) const {
  if (!literal_.empty()) {
    if (module.size() < literal_.size()) return false;
    const size_t begin = module.size() - literal_.size();
    if (whole_ && begin != 0) return false;
    const auto same = [](char p, char c) { return p == kAny || p == c; };
    return starts_here(module, begin) && std::ranges::equal(literal_, module.substr(begin), same);
  }
  Threads now(program_);
  Threads next(program_);
  for (size_t at = 0; at < module.size(); ++at) {
    if (starts_here(module, at)) now.add(0, at == 0, false);
    next.clear();
    for (const size_t step : now.waiting()) {
      if (!program_[step].characters[static_cast<unsigned char>(module[at])]) continue;
      next.add(step + 1, false, at + 1 == module.size());
    }
    std::swap(now, next);
  }
  return now.done();
}

}  // namespace mflux::lora
