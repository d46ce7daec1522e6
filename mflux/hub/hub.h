// SPDX-License-Identifier: MIT
// A model or LoRA name -> a place on this disk. Nothing is downloaded.
#pragma once

#include <filesystem>
#include <string>

namespace mflux::hub {

// `name` is a path, a built-in name ("dev", "qwen-image"), or "owner/repo" in the local Hugging
// Face cache (HF_HUB_CACHE, HF_HOME/hub or ~/.cache/huggingface/hub). Throws Error that says where
// it looked.
std::filesystem::path resolve_model(const std::string& name);

// `name` is a path of a file or of a folder that holds one .safetensors file, "owner/repo", or
// "owner/repo:file.safetensors" in the cache.
std::filesystem::path resolve_lora(const std::string& name);

}  // namespace mflux::hub
