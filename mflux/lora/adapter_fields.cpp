// SPDX-License-Identifier: MIT
#include "mflux/lora/adapter_fields.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "mflux/base/json.h"

namespace mflux::lora {
namespace {

using Json = nlohmann::json;

// A model has some hundred layers.
constexpr size_t kMostMembers = 5000;  // of an object
constexpr size_t kMostFields = 1000;

class FieldReader : public nlohmann::json_sax<Json> {
 public:
  explicit FieldReader(const std::function<bool(std::string_view)>& counts) : counts_(counts) {}

  std::map<std::string, AdapterField> take_fields() { return std::move(fields_); }
  std::string take_error() { return std::move(error_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return fail("holds binary data"); }
  bool start_array(std::size_t) override { return begin(Json::array()); }
  bool start_object(std::size_t) override { return begin(Json::object()); }
  bool end_array() override { return end(); }
  bool end_object() override { return end(); }

  bool key(string_t& name) override {
    if (depth_ == 1) return begin_field(name);
    if (depth_ == 2 && field_ != nullptr) return begin_member(name);
    return true;
  }

  bool parse_error(
      std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return fail(fmt::format("is not valid JSON at its byte {}", position));
  }

 private:
  bool fail(std::string what) {
    error_ = std::move(what);
    return false;
  }

  bool begin_field(const std::string& name) {
    field_ = nullptr;
    if (!counts_(name)) return true;
    if (fields_.size() == kMostFields) {
      return fail(fmt::format("states more than {} values", kMostFields));
    }
    name_ = name;
    field_ = &fields_[name];
    *field_ = {};
    places_.clear();
    return true;
  }

  bool begin_member(const std::string& name) {
    const auto [place, fresh] = places_.emplace(name, field_->members.size());
    member_ = place->second;
    if (!fresh) return true;
    if (member_ == kMostMembers) {
      return fail(fmt::format("has more than {} entries in '{}'", kMostMembers, name_));
    }
    field_->members.emplace_back(name, nullptr);
    return true;
  }

  bool add(Json value) {
    if (depth_ == 0) return fail("is not an object");
    if (field_ == nullptr || depth_ > 2) return true;
    auto shared = std::make_shared<const Json>(std::move(value));
    if (depth_ == 1) {
      field_->value = std::move(shared);
    } else if (field_->value->is_object()) {
      field_->members[member_].second = std::move(shared);
    }
    return true;
  }

  bool begin(Json value) {
    if (depth_ == 0 && !value.is_object()) return fail("is not an object");
    if (depth_ != 0 && !add(std::move(value))) return false;
    ++depth_;
    return true;
  }

  bool end() {
    --depth_;
    return true;
  }

  const std::function<bool(std::string_view)>& counts_;
  std::map<std::string, AdapterField> fields_ = {};
  std::string error_ = {};
  size_t depth_ = 0;
  std::string name_ = {};                      // of the field
  AdapterField* field_ = nullptr;              // that is being read; null: it does not count
  std::map<std::string, size_t> places_ = {};  // of its members
  size_t member_ = 0;
};

}  // namespace

std::map<std::string, AdapterField> read_adapter_fields(
    std::string_view text,
    const std::function<bool(std::string_view)>& counts,
    std::string& error) {
  error = json_problem(text);
  if (!error.empty()) return {};
  FieldReader reader(counts);
  Json::sax_parse(text, &reader);
  error = reader.take_error();
  return reader.take_fields();
}

}  // namespace mflux::lora
