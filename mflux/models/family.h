// SPDX-License-Identifier: MIT
// What a model family is, as tables, and the one function that turns headers in any naming into the
// tensors to write.
//
// Canonical names are those of diffusers / transformers. Every other naming is told as rows of
// canonical tensors, so that fused layers, split layers and swapped halves are the same thing: a
// list of row ranges.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/base/quantization.h"
#include "mflux/base/tensor.h"
#include "mflux/lora/family.h"
#include "mflux/lora/target.h"
#include "mflux/models/component.h"
#include "mflux/models/known_model.h"

namespace mflux::models {

// "flux", "qwen", or "qwen-edit", the variant of qwen that keeps the text encoder's vision tower;
// none if unknown.
const Family* find_family(std::string_view name);

// One of each name, in the order they are listed for people: the plain variants.
std::vector<const Family*> families();
// The variant of the same name that has every layer of the others.
const Family& widest_variant(const Family& family);
std::string family_names();   // "flux or qwen"
std::string family_titles();  // "FLUX.1 or Qwen-Image"

std::string_view family_name(const Family& family);     // "flux" or "qwen", whatever the variant
std::string_view family_variant(const Family& family);  // its name in find_family()
std::string_view family_title(const Family& family);    // for people: "FLUX.1", "Qwen-Image"

// "dev", "Fill": what the canonical shapes of its transformer tell; "" if they do not.
std::string_view release_title(
    const Family& family, const std::map<std::string, Shape>& transformer);

const lora::Family& lora_family(const Family& family);
lora::Families lora_families();

struct Identified {
  const Family* family = nullptr;
  Naming naming = Naming::diffusers;
};

// Decides by config.json's class name and by tensor names, never by the folder's name. `asked`:
// --base-model's family or none; of the variants of one family it decides only where the files do
// not tell. Throws Error naming what was found if nothing fits, or if it is not the family asked
// for.
Identified identify(const std::vector<SourceComponent>& components, const Family* asked);

// Which folders of the family hold tensors, in the order they are saved, and which are copied as
// they are.
std::vector<std::string> weight_components(const Family& family);
std::vector<std::string> copied_folders(const Family& family);     // tokenizer, scheduler, ...
std::vector<std::string> tokenizer_folders(const Family& family);  // those that a prompt needs

// What a component becomes in `output` naming. Every source tensor is used, or on the family's list
// of tensors that are known to be left out, or the call throws one Error that lists all that are
// neither (with nearest names) and all that are missing. Order of the result: by the source
// position of the first piece; computed tensors last.
MappedComponent map_component(
    const Family& family, const SourceComponent& source, Naming naming, Naming output);

// The packed format of a tensor when `asked` is requested for the model, or none: stays in full
// precision. Python mflux's rules, with its exceptions (Qwen's img_mod at 4 bits -> 8 bits).
std::optional<QuantFormat> quantization(
    const Family& family,
    std::string_view component,
    const MappedTensor& tensor,
    const QuantFormat& asked);

// Every name under which a LoRA may address this component, and the rows it means. Built from the
// canonical shapes, which follow from the source headers. Of a vector (a norm) each element is a
// row and there is one column. Some targets (lm_head, a vision tower) may be left out of the output
// naming: compare with MappedComponent::left_out.
std::vector<lora::Target> lora_targets(
    const Family& family, const SourceComponent& source, Naming naming);

// Canonical tensors (diffusers names) of a component with their canonical shapes.
std::map<std::string, Shape> canonical_shapes(
    const Family& family, const SourceComponent& source, Naming naming);

// How many columns matrices of the source have, by their index there, as far as rows, norms and
// matrices that are not packed show it. Of a single file's naming nothing is known.
std::map<size_t, uint64_t> expected_columns(
    const Family& family, const SourceComponent& source, Naming naming);

// Why a picture cannot be made of these components together, one line each: widths that the
// pipelines do not have, or that differ where one component's output is the next one's input.
std::vector<std::string> disagreements(
    const Family& family, const std::vector<SourceComponent>& components, Naming naming);

const KnownModel* find_known_model(std::string_view name);

}  // namespace mflux::models
