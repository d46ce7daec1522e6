# SPDX-License-Identifier: MIT
"""LoRA files of every algorithm in every dialect, each with the weights that its own trainer's code makes of it.

LyCORIS's modules are built on the layer's weight (fused, where the dialect's layers are) and asked for their output on
the identity: that is what training saw, and what their merge_to() gets wrong for LoHa and LoKr (it applies alpha / rank
twice). PEFT merges whole models. kohya's OFT, of which merge_to() does not run, and new values are written by formula.

    make(family, dialect, algorithm, base, file)    -> {"X.weight": float64 array}, for the layers it changes
"""

import dataclasses
import pathlib
import warnings

import numpy as np
import torch
from lycoris.modules.boft import ButterflyOFTModule
from lycoris.modules.diag_oft import DiagOFTModule
from lycoris.modules.glora import GLoRAModule
from lycoris.modules.ia3 import IA3Module
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from peft import LoHaConfig, LoKrConfig, LoraConfig, OFTConfig, get_peft_model
from safetensors.torch import save_file

import checkpoints
import loras

torch.set_num_threads(1)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer as a dialect names it, with dots: its rows are those of `parts`, one after the other."""

    name: str
    parts: tuple
    swapped: bool = False


def plain(*names):
    return [Layer(name, (name,)) for name in names]


DOUBLE, SINGLE = "transformer_blocks.0", "single_transformer_blocks.1"
BFL = [
    Layer("double_blocks.0.img_attn.qkv", tuple(f"{DOUBLE}.attn.to_{x}" for x in "qkv")),
    Layer("double_blocks.0.txt_mlp.2", (f"{DOUBLE}.ff_context.net.2",)),
    Layer("single_blocks.1.linear1", (*(f"{SINGLE}.attn.to_{x}" for x in "qkv"), f"{SINGLE}.proj_mlp")),
    Layer("single_blocks.1.modulation.lin", (f"{SINGLE}.norm.linear",)),
    Layer("final_layer.adaLN_modulation.1", ("norm_out.linear",), swapped=True),
    Layer("img_in", ("x_embedder",)),
]
FLUX = plain(
    f"{DOUBLE}.attn.add_k_proj", f"{DOUBLE}.ff.net.0.proj", f"{DOUBLE}.norm1.linear", f"{SINGLE}.proj_mlp",
    f"{SINGLE}.proj_out", "norm_out.linear", "proj_out", "context_embedder",
)  # fmt: skip
QWEN = plain(
    f"{DOUBLE}.attn.to_q", f"{DOUBLE}.attn.to_out.0", f"{DOUBLE}.img_mlp.net.0.proj", f"{DOUBLE}.txt_mlp.net.2",
    "transformer_blocks.1.img_mod.1", "norm_out.linear", "proj_out", "txt_in",
)  # fmt: skip

# family, dialect -> prefix, separator, layers
DIALECTS = {
    ("flux", "kohya"): ("lora_unet_", "_", BFL),
    ("flux", "comfyui"): ("diffusion_model.", ".", BFL),
    ("flux", "original"): ("", ".", BFL),
    ("flux", "fal"): ("base_model.model.", ".", BFL),
    ("flux", "extracted"): ("lora_unet_model_diffusion_model_", "_", BFL),
    ("flux", "diffusers"): ("transformer.", ".", FLUX),
    ("flux", "bare"): ("", ".", FLUX),
    ("flux", "lycoris"): ("lycoris_", "_", FLUX),
    ("flux", "onetrainer"): ("lora_transformer_", "_", FLUX),
    ("flux", "stacked"): ("transformer.base_model.model.", ".", FLUX),
    ("qwen", "musubi"): ("lora_unet_", "_", QWEN),
    ("qwen", "diffusers"): ("transformer.", ".", QWEN),
    ("qwen", "comfyui"): ("diffusion_model.", ".", QWEN),
    ("qwen", "bare"): ("", ".", QWEN),
    ("qwen", "lycoris"): ("lycoris_", "_", QWEN),
    ("qwen", "diffsynth"): ("pipe.dit.", ".", QWEN),
    ("qwen", "onetrainer"): ("lora_transformer_", "_", QWEN),
}


def gather(base: dict, layer: Layer) -> torch.Tensor:
    weight = torch.cat([base[f"{part}.weight"] for part in layer.parts])
    return checkpoints.swap_halves(weight) if layer.swapped else weight


def scatter(base: dict, layer: Layer, weight: torch.Tensor, result: dict) -> None:
    weight = checkpoints.swap_halves(weight) if layer.swapped else weight
    for part, rows in zip(layer.parts, weight.split([base[f"{part}.weight"].shape[0] for part in layer.parts])):
        result[f"{part}.weight"] = rows.double().numpy()


def by_lycoris(kind, *, spread=0.2, dtype=torch.float64, **options):
    """A module of LyCORIS with random values on the weight; its keys, and the weight that its forward applies."""

    def make(weight: torch.Tensor, generator: torch.Generator):
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        linear.weight = torch.nn.Parameter(weight.float(), requires_grad=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = kind("x", linear, 1.0, **({"lora_dim": 4, "alpha": 2.0} | options))
        with torch.no_grad():
            for name, value in sorted(module.named_parameters()):
                noise = torch.empty(value.shape).normal_(0.0, spread, generator=generator)
                value.copy_(value * (1 + noise) if name in ("dora_scale", "rescale") else noise)
        tensors = {name: value.detach().clone().contiguous() for name, value in module.state_dict().items()}
        linear.to(dtype), module.to(dtype)
        module.eval()
        with torch.no_grad():
            merged = module(torch.eye(weight.shape[1], dtype=dtype)).T
        return tensors, merged

    return make


def kohya_oft(weight: torch.Tensor, generator: torch.Generator):
    rows, alpha = weight.shape[0], 1e-3
    split = [rows // 2, rows - rows // 2]
    tensors, merged = {"alpha": torch.tensor(alpha)}, []
    for number, part in enumerate(weight.double().split(split)):
        blocks = torch.empty(4, len(part) // 4, len(part) // 4).normal_(0.0, 0.2, generator=generator)
        tensors[f"oft_blocks.{number}"] = blocks
        q = blocks.double() - blocks.double().mT
        norm = q.norm()
        q = q * (torch.clamp(norm, max=alpha * len(part)) + 1e-8) / (norm + 1e-8)
        eye = torch.eye(q.shape[-1], dtype=torch.float64)
        turn = (eye + q) @ torch.linalg.inv(eye - q)
        merged.append(torch.einsum("knm,knp->kmp", turn, part.reshape(4, -1, part.shape[1])).reshape(part.shape))
    return tensors, torch.cat(merged)


def onetrainer_oft(weight: torch.Tensor, generator: torch.Generator):
    size = 16
    stored = torch.empty(weight.shape[1] // size, size * (size - 1) // 2).normal_(0.0, 0.1, generator=generator)
    q = torch.zeros(len(stored), size, size, dtype=torch.float64)
    upper = torch.triu_indices(size, size, 1)
    q[:, upper[0], upper[1]] = stored.double() / (2 * (size - 1) ** 0.5)
    q = q - q.mT
    powers = [torch.eye(size, dtype=torch.float64).expand_as(q), q, q @ q, q @ q @ q, q @ q @ q @ q]
    turn = powers[0] + 2 * powers[1] + 2 * powers[2] + 2 * powers[3] + powers[4]
    parts = weight.double().reshape(len(weight), -1, size)
    merged = torch.einsum("okn,kmn->okm", parts, turn).reshape(weight.shape)
    return {"oft_R.weight": stored, "oft_R.scaled_oft": torch.tensor(1.0)}, merged


def old_glora(weight: torch.Tensor, generator: torch.Generator):
    rows, columns, rank = *weight.shape, 3
    shapes = {"a1": (rank, columns), "a2": (columns, rank), "b1": (rank, columns), "b2": (rows, rank)}
    f = {name: torch.empty(shape).normal_(0.0, 0.1, generator=generator) for name, shape in shapes.items()}
    d = {name: value.double() for name, value in f.items()}
    merged = weight.double() + (weight.double() @ d["a2"] @ d["a1"] + d["b2"] @ d["b1"]) * 2 / rank
    return {**{f"{name}.weight": value for name, value in f.items()}, "alpha": torch.tensor(2.0)}, merged


def tucker_core(weight: torch.Tensor, generator: torch.Generator):
    draw = lambda *shape: torch.empty(shape).normal_(0.0, 0.2, generator=generator)
    up, core, down = draw(weight.shape[0], 3, 1, 1), draw(3, 4, 1, 1), draw(4, weight.shape[1], 1, 1)
    merged = weight.double() + up.double().flatten(1) @ core.double().flatten(1) @ down.double().flatten(1) * 2 / 4
    names = ("lora_up.weight", "lora_mid.weight", "lora_down.weight")
    return {**dict(zip(names, (up, core, down))), "alpha": torch.tensor(2.0)}, merged


def magnitude(weight: torch.Tensor, generator: torch.Generator):
    """ai-toolkit's DoRA: no alpha, a vector of magnitudes."""
    a = torch.empty(4, weight.shape[1]).normal_(0.0, 0.2, generator=generator)
    b = torch.empty(weight.shape[0], 4).normal_(0.0, 0.2, generator=generator)
    length = weight.norm(dim=1) * (1 + torch.empty(len(weight)).normal_(0.0, 0.1, generator=generator))
    v = weight.double() + b.double() @ a.double()
    merged = v * (length.double() / v.norm(dim=1))[:, None]
    return {"lora_A.weight": a, "lora_B.weight": b, "magnitude": length}, merged


def full_difference(weight: torch.Tensor, generator: torch.Generator):
    value = torch.empty(weight.shape).normal_(0.0, 0.1, generator=generator)
    return {"diff": value}, weight.double() + value.double()


def new_value(ending: str):
    def make(weight: torch.Tensor, generator: torch.Generator):
        value = torch.empty(weight.shape).normal_(0.0, 0.1, generator=generator)
        return {ending: value}, value.double()

    return make


ALGORITHMS = {
    "lora": by_lycoris(LoConModule),
    "rslora": by_lycoris(LoConModule, rs_lora=True),
    "locon-core": tucker_core,
    "loha": by_lycoris(LohaModule),
    "lokr-whole-factored": by_lycoris(LokrModule, factor=4),
    "lokr-factored": by_lycoris(LokrModule, factor=32, lora_dim=1, decompose_both=True),
    "lokr-whole": by_lycoris(LokrModule, factor=8, full_matrix=True),
    "lokr-unbalanced": by_lycoris(LokrModule, factor=4, unbalanced_factorization=True),
    "dora-out": by_lycoris(LoConModule, weight_decompose=True),
    "dora-in": by_lycoris(LoConModule, weight_decompose=True, wd_on_out=False),
    "dora-magnitude": magnitude,
    "loha-dora-out": by_lycoris(LohaModule, weight_decompose=True),
    "loha-dora-in": by_lycoris(LohaModule, weight_decompose=True, wd_on_out=False),
    "lokr-dora-out": by_lycoris(LokrModule, weight_decompose=True, factor=8, full_matrix=True),
    "lokr-dora-in": by_lycoris(LokrModule, weight_decompose=True, wd_on_out=False, factor=8, full_matrix=True),
    "full": full_difference,
    "oft": by_lycoris(DiagOFTModule, dtype=torch.float32, lora_dim=8, constraint=0, rescaled=True),
    "oft-limited": by_lycoris(DiagOFTModule, dtype=torch.float32, lora_dim=8, constraint=1e-3),
    "boft": by_lycoris(ButterflyOFTModule, dtype=torch.float32, lora_dim=16, constraint=0, rescaled=True),
    "oft-kohya": kohya_oft,
    "oft-onetrainer": onetrainer_oft,
    "glora": by_lycoris(GLoRAModule, spread=0.1),
    "glora-old": old_glora,
    "ia3-out": by_lycoris(IA3Module),
    "ia3-in": by_lycoris(IA3Module, train_on_input=True),
    "set_weight": new_value("set_weight"),
    "weight": new_value("weight"),
}

# Error allowed, by the largest value. LyCORIS inverts in float32 only; GLoRA sums over all inputs in float32 first.
TOLERANCE = {"oft": 3e-6, "oft-limited": 3e-6, "boft": 3e-6, "glora": 1e-6, "glora-old": 1e-6}


def make(family: str, dialect: str, algorithm: str, base: dict, file: pathlib.Path) -> dict[str, np.ndarray]:
    prefix, separator, layers = DIALECTS[family, dialect]
    generator = torch.Generator().manual_seed(sum(map(ord, dialect + algorithm)))
    tensors, expected = {}, {}
    for layer in layers:
        parts, merged = ALGORITHMS[algorithm](gather(base, layer), generator)
        name = prefix + layer.name.replace(".", separator)
        tensors |= {f"{name}.{ending}": value for ending, value in parts.items()}
        scatter(base, layer, merged, expected)
    save_file(tensors, file, {"ss_network_module": "lycoris.kohya"})
    return expected


PEFT_TARGETS = {
    "flux": r"(transformer_blocks\.0\.(attn\.to_q|ff\.net\.2|norm1\.linear)"
    r"|single_transformer_blocks\.1\.(proj_mlp|attn\.to_v)|norm_out\.linear|proj_out|context_embedder)",
    "qwen": r"(transformer_blocks\.0\.(attn\.to_q|img_mlp\.net\.2|img_mod\.1)|norm_out\.linear|proj_out|txt_in)",
}
PEFT_KINDS = {
    "lora": lambda targets: LoraConfig(r=4, lora_alpha=2, target_modules=targets),
    "rslora-patterns": lambda targets: LoraConfig(
        r=4, lora_alpha=2, use_rslora=True, target_modules=targets, rank_pattern={"attn.to_q": 2},
        alpha_pattern={"proj_out": 5},
    ),
    "dora": lambda targets: LoraConfig(r=4, lora_alpha=2, use_dora=True, target_modules=targets),
    "lora-bias": lambda targets: LoraConfig(r=4, lora_alpha=2, lora_bias=True, target_modules=targets),
    "loha": lambda targets: LoHaConfig(r=4, alpha=2, target_modules=targets),
    "lokr": lambda targets: LoKrConfig(r=2, alpha=3, target_modules=targets, decompose_factor=8),
    "lokr-whole": lambda targets: LoKrConfig(r=64, alpha=16, target_modules=targets, decompose_factor=8),
    "oft-series": lambda targets: OFTConfig(oft_block_size=16, target_modules=targets),
    "oft-terms": lambda targets: OFTConfig(oft_block_size=16, target_modules=targets, num_cayley_neumann_terms=3),
    "oft-exact": lambda targets: OFTConfig(oft_block_size=16, target_modules=targets, use_cayley_neumann=False),
    "oft-shared": lambda targets: OFTConfig(oft_block_size=16, target_modules=targets, block_share=True),
}  # fmt: skip


def make_peft(family: str, kind: str, base_folder, folder: pathlib.Path) -> tuple[pathlib.Path, dict[str, np.ndarray]]:
    """save_pretrained, with adapter_config.json beside the file; merge_and_unload in float64."""
    transformer = (loras.flux_transformer if family == "flux" else loras.qwen_transformer)(base_folder)
    model = get_peft_model(transformer, PEFT_KINDS[kind](PEFT_TARGETS[family]))
    generator = torch.Generator().manual_seed(len(kind))
    with torch.no_grad():
        for name, value in sorted(model.named_parameters()):
            if not any(part in name for part in (".lora_", ".hada_", ".lokr_", ".oft_R")):
                continue
            noise = torch.empty(value.shape).normal_(0.0, 0.1, generator=generator)
            value.copy_(value * (1 + noise) if "magnitude" in name else noise)
    model.save_pretrained(folder)
    merged = model.double().merge_and_unload()
    return folder / "adapter_model.safetensors", {
        name: value.double().numpy() for name, value in merged.state_dict().items()
    }
