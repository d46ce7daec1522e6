// SPDX-License-Identifier: MIT
// tokenizer_config.json, special_tokens_map.json and added_tokens.json: which tokens are special.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "mflux/tokenizer/contents.h"

namespace mflux::tokenizer {

// How many sentinels <extra_id_0>... a T5 vocabulary has. `config` is tokenizer_config.json.
int64_t sentinel_count(const nlohmann::json& config, std::string_view file);

// Fills in all but the vocabulary, as transformers does for the class of `files.kind`. `saved` is
// tokenizer.json, or an empty object. `controls`: the tokens that spiece.model itself calls
// special.
void read_settings(
    const std::filesystem::path& folder,
    nlohmann::json config,
    const nlohmann::json& saved,
    const std::vector<AddedToken>& controls,
    TokenizerFiles& files);

// The added tokens by their ids: the vocabulary's, or the next free one for a token that is not in
// it. Throws Error if the files number a token otherwise.
std::map<int32_t, AddedToken> number_added_tokens(const TokenizerFiles& files);

}  // namespace mflux::tokenizer
