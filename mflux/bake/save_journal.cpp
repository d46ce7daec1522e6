// SPDX-License-Identifier: MIT
// Written anew after every shard (atomically: a hidden file, renamed) and read once at the start. A
// journal that does not parse counts as none. Sums are stored as JSON numbers with all their
// digits, so that what was measured before a kill comes out the same afterwards.
#include "mflux/bake/save_journal.h"

#include <nlohmann/json.hpp>

#include "mflux/base/file.h"
#include "mflux/base/json.h"
#include "mflux/base/paths.h"

namespace mflux {
namespace {

using Json = nlohmann::json;

Json to_json(const BakeSums& sums) {
  Json loras = Json::array();
  for (const auto& [index, lora] : sums.loras) loras.push_back({index, lora.cross, lora.norm});
  return {
      {"error", {sums.error.error_sq, sums.error.exact_sq, sums.error.max_error}},
      {"loras", loras}};
}

BakeSums sums_from_json(const Json& json) {
  BakeSums sums;
  const Json& error = json.at("error");
  sums.error = {
      .error_sq = error.at(0).get<double>(),
      .exact_sq = error.at(1).get<double>(),
      .max_error = error.at(2).get<double>()};
  for (const Json& lora : json.at("loras")) {
    sums.loras[lora.at(0).get<size_t>()] = {
        .cross = lora.at(1).get<double>(), .norm = lora.at(2).get<double>()};
  }
  return sums;
}

Json to_json(const FinishedShard& shard) {
  Json baked = Json::object();
  for (const auto& [name, sums] : shard.baked) baked[name] = to_json(sums);
  return {
      {"xxh3_128", shard.hash},
      {"bytes", shard.bytes},
      {"temporary", shard.temporary},
      {"baked", baked}};
}

FinishedShard shard_from_json(const Json& json) {
  FinishedShard shard{
      .hash = json.at("xxh3_128").get<std::string>(),
      .bytes = json.at("bytes").get<uint64_t>(),
      .temporary = json.at("temporary").get<std::string>()};
  for (const auto& [name, sums] : json.at("baked").items()) {
    shard.baked[name] = sums_from_json(sums);
  }
  return shard;
}

}  // namespace

std::filesystem::path journal_path(const std::filesystem::path& folder) {
  return folder / ".mflux-save.json";
}

std::optional<SaveJournal> read_journal(const std::filesystem::path& folder) {
  const std::filesystem::path path = journal_path(folder);
  if (!std::filesystem::exists(path)) return std::nullopt;
  const std::optional<Json> json = find_json(read_text(path), kLongJson);
  if (!json) return std::nullopt;
  try {
    SaveJournal journal{
        .fingerprint = json->at("fingerprint").get<std::string>(), .job = json->value("job", "")};
    for (const auto& [file, shard] : json->at("shards").items()) {
      if (stays_inside(file)) journal.shards[file] = shard_from_json(shard);
    }
    return journal;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

void write_journal(const std::filesystem::path& folder, const SaveJournal& journal) {
  Json shards = Json::object();
  for (const auto& [file, shard] : journal.shards) shards[file] = to_json(shard);
  const Json json = {
      {"fingerprint", journal.fingerprint}, {"job", journal.job}, {"shards", shards}};
  write_text_atomically(journal_path(folder), json.dump());
}

}  // namespace mflux
