# SPDX-License-Identifier: MIT
"""LoRAs for the checkpoints of checkpoints.py, each with the truth: which tensor it changes, and by what.

PEFT makes the layers and diffusers' own savers write the files; kohya's are written here after its naming scheme.
Up matrices are random, never zero. With exact=True every value is a small multiple of a power of two, so that the
product and its sum with the weight have one right answer in any order of summation.
"""

import contextlib
import dataclasses
import io
import os
import pathlib
import re

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel, QwenImagePipeline, QwenImageTransformer2DModel
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import CLIPTextModel, Qwen2_5_VLForConditionalGeneration, T5EncoderModel

import checkpoints


@dataclasses.dataclass
class Delta:
    """scale * up @ down, added to rows [row, row + up.rows) of a tensor."""

    up: torch.Tensor
    down: torch.Tensor
    scale: float


@dataclasses.dataclass
class Lora:
    file: pathlib.Path
    # "transformer/X.weight", in diffusers' names -> what is added to it
    truth: dict[str, list[Delta]]


FLUX_BLOCK_LINEARS = (
    r"(transformer_blocks\.\d+\.(attn\.(to_q|to_k|to_v|to_out\.0|add_q_proj|add_k_proj|add_v_proj|to_add_out)"
    r"|ff\.net\.0\.proj|ff\.net\.2|ff_context\.net\.0\.proj|ff_context\.net\.2|norm1\.linear|norm1_context\.linear)"
    r"|single_transformer_blocks\.\d+\.(attn\.(to_q|to_k|to_v)|proj_mlp|proj_out|norm\.linear))"
)
FLUX_ALL_LINEARS = (
    FLUX_BLOCK_LINEARS[:-1] + r"|x_embedder|context_embedder|proj_out|norm_out\.linear"
    r"|time_text_embed\.(timestep_embedder|text_embedder|guidance_embedder)\.linear_[12])"
)
QWEN_BLOCK_LINEARS = (
    r"transformer_blocks\.\d+\.(attn\.(to_q|to_k|to_v|to_out\.0|add_q_proj|add_k_proj|add_v_proj|to_add_out)"
    r"|(img|txt)_mlp\.net\.(0\.proj|2))"
)
QWEN_ALL_LINEARS = (
    "(" + QWEN_BLOCK_LINEARS[:-1] + r"|(img|txt)_mod\.1)|img_in|txt_in|proj_out|norm_out\.linear"
    r"|time_text_embed\.timestep_embedder\.linear_[12])"
)
CLIP_LINEARS = r".*encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])"
T5_LINEARS = r".*block\.\d+\.layer\.\d\.(SelfAttention\.[qkvo]|DenseReluDense\.(wi_0|wi_1|wo))"
QWEN_TEXT_LINEARS = r".*layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"


def draw(shape, generator: torch.Generator, exact: bool) -> torch.Tensor:
    if exact:
        return torch.randint(-7, 8, shape, generator=generator).float() / 128
    return torch.empty(shape).normal_(0.0, 0.03, generator=generator)


def quiet():
    return contextlib.redirect_stderr(io.StringIO())


def with_adapter(model, config: LoraConfig, seed: int, exact: bool, dtype: torch.dtype):
    """Adds a LoRA whose every matrix is random, with values that `dtype` holds."""
    model.add_adapter(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in sorted(model.named_parameters()):
            if ".lora_" in name:
                value.copy_(draw(value.shape, generator, exact).to(dtype))
    return model


def truth_of(model, component: str, rename=lambda name: name) -> dict[str, list[Delta]]:
    """What PEFT itself would add, by its own scaling."""
    truth = {}
    for name, module in model.named_modules():
        if "default" not in getattr(module, "lora_A", {}):
            continue
        delta = Delta(
            up=module.lora_B["default"].weight.detach().clone(),
            down=module.lora_A["default"].weight.detach().clone(),
            scale=module.scaling["default"],
        )
        truth[f"{component}/{rename(name)}.weight"] = [delta]
    assert truth, f"no layer of {component} matched"
    return truth


def state_of(model, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {name: value.to(dtype).contiguous() for name, value in get_peft_model_state_dict(model).items()}


def flux_transformer(base):
    return FluxTransformer2DModel.from_pretrained(base, subfolder="transformer", torch_dtype=torch.float32)


def qwen_transformer(base):
    return QwenImageTransformer2DModel.from_pretrained(base, subfolder="transformer", torch_dtype=torch.float32)


def clip_names(name: str) -> str:
    """transformers 5 drops text_model. from the module's path; the hub's files have it."""
    return name if name.startswith("text_model.") else f"text_model.{name}"


def flux_pipeline(base, folder, *, seed=100, exact=False, rank=4, alpha=8, text_encoder=True, dtype=torch.float32):
    """FluxPipeline.save_lora_weights, with the adapter's metadata (so alpha) as diffusers' training scripts give it."""
    config = LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=FLUX_BLOCK_LINEARS)
    modules = {"transformer": with_adapter(flux_transformer(base), config, seed, exact, dtype)}
    truth = truth_of(modules["transformer"], "transformer")
    if text_encoder:
        with quiet():
            clip = CLIPTextModel.from_pretrained(base, subfolder="text_encoder", dtype=torch.float32)
        config = LoraConfig(r=rank, lora_alpha=2 * alpha, target_modules=CLIP_LINEARS)
        modules["text_encoder"] = with_adapter(clip, config, seed + 1, exact, dtype)
        truth |= truth_of(clip, "text_encoder", clip_names)
    layers = {f"{name}_lora_layers": state_of(module, dtype) for name, module in modules.items()}
    metadata = _collate_lora_metadata(modules)
    FluxPipeline.save_lora_weights(folder, **layers, **metadata)
    return Lora(pathlib.Path(folder) / "pytorch_lora_weights.safetensors", truth)


def flux_adapter(base, folder, *, seed=200, exact=False, dtype=torch.bfloat16):
    """save_lora_adapter: bare names, rank and alpha patterns and rank-stabilised scaling in the metadata."""
    config = LoraConfig(
        r=4,
        lora_alpha=4,
        use_rslora=True,
        target_modules=FLUX_ALL_LINEARS,
        rank_pattern={r"attn.to_q": 16},
        alpha_pattern={r"proj_out": 8, r"ff.net.2": 2},
    )
    transformer = with_adapter(flux_transformer(base), config, seed, exact, dtype)
    truth = truth_of(transformer, "transformer")
    transformer.to(dtype).save_lora_adapter(folder)
    return Lora(pathlib.Path(folder) / "pytorch_lora_weights.safetensors", truth)


def qwen_pipeline(base, folder, *, seed=300, exact=False, dtype=torch.float32):
    """QwenImagePipeline.save_lora_weights: what Python's mflux refuses."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules=QWEN_ALL_LINEARS)
    transformer = with_adapter(qwen_transformer(base), config, seed, exact, dtype)
    metadata = _collate_lora_metadata({"transformer": transformer})
    QwenImagePipeline.save_lora_weights(folder, transformer_lora_layers=state_of(transformer, dtype), **metadata)
    return Lora(pathlib.Path(folder) / "pytorch_lora_weights.safetensors", truth_of(transformer, "transformer"))


def qwen_peft(base, folder, *, seed=400, dtype=torch.bfloat16):
    """PEFT's save_pretrained: base_model.model. names, and the scaling only in adapter_config.json beside the file."""
    config = LoraConfig(r=8, lora_alpha=4, target_modules=QWEN_BLOCK_LINEARS)
    model = get_peft_model(qwen_transformer(base), config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in sorted(model.named_parameters()):
            if ".lora_" in name:
                value.copy_(draw(value.shape, generator, False).to(dtype))
    truth = truth_of(model.base_model.model, "transformer")
    model.to(dtype).save_pretrained(folder)
    return Lora(pathlib.Path(folder) / "adapter_model.safetensors", truth)


class Kohya:
    """Collects layers under kohya's names: flat, lora_down / lora_up / alpha."""

    def __init__(self, seed: int, rank: int, alpha: float, dtype: torch.dtype):
        self.generator = torch.Generator().manual_seed(seed)
        self.rank, self.alpha, self.dtype = rank, alpha, dtype
        self.tensors, self.truth = {}, {}

    def add(self, name: str, parts: list[tuple[str, int]], columns: int, swapped: bool = False) -> None:
        """One layer of the file that changes `parts` (tensor, rows), one after the other."""
        rows = sum(count for _, count in parts)
        down = draw((self.rank, columns), self.generator, False).to(self.dtype)
        up = draw((rows, self.rank), self.generator, False).to(self.dtype)
        self.tensors[f"{name}.lora_down.weight"] = down
        self.tensors[f"{name}.lora_up.weight"] = up
        self.tensors[f"{name}.alpha"] = torch.tensor(self.alpha, dtype=self.dtype)
        applied = checkpoints.swap_halves(up) if swapped else up
        begin = 0
        for tensor, count in parts:
            delta = Delta(applied[begin : begin + count].float(), down.float(), self.alpha / self.rank)
            self.truth.setdefault(tensor, []).append(delta)
            begin += count

    def save(self, file) -> Lora:
        metadata = {"ss_network_module": "networks.lora", "ss_network_dim": str(self.rank)}
        save_file({name: value.contiguous() for name, value in self.tensors.items()}, file, metadata)
        return Lora(pathlib.Path(file), self.truth)


def shapes_of(base, component: str) -> dict[str, tuple]:
    return {name: tuple(value.shape) for name, value in checkpoints.load_component(base, component).items()}


def add_text_layers(kohya: Kohya, base, component: str, prefix: str, pattern: str) -> None:
    for name, shape in sorted(shapes_of(base, component).items()):
        module = name.removesuffix(".weight")
        if name.endswith(".weight") and re.fullmatch(pattern, module) and not module.startswith("visual"):
            kohya.add(prefix + module.replace(".", "_"), [(f"{component}/{name}", shape[0])], shape[1])


def flux_kohya(base, file, *, seed=500, text_encoders=True, dtype=torch.float16) -> Lora:
    """sd-scripts' networks.lora_flux: BFL names, fused layers, CLIP as te1, T5 as te3, alpha below the rank."""
    kohya = Kohya(seed, rank=6, alpha=3.0, dtype=dtype)
    shapes = shapes_of(base, "transformer")
    blocks = (
        ("transformer_blocks.", "double_blocks", checkpoints.BFL_DOUBLE),
        ("single_transformer_blocks.", "single_blocks", checkpoints.BFL_SINGLE),
    )
    for source, target, layers in blocks:
        for index in range(checkpoints.block_count(shapes, source)):
            for parts, name in layers.items():
                names = [f"{source}{index}.{part}.weight" for part in parts]
                rows = [(f"transformer/{n}", shapes[n][0]) for n in names]
                kohya.add(f"lora_unet_{target}_{index}_{name}".replace(".", "_"), rows, shapes[names[0]][1])
    columns = shapes["norm_out.linear.weight"]
    kohya.add(
        "lora_unet_final_layer_adaLN_modulation_1",
        [("transformer/norm_out.linear.weight", columns[0])],
        columns[1],
        swapped=True,
    )
    if text_encoders:
        add_text_layers(kohya, base, "text_encoder", "lora_te1_", CLIP_LINEARS)
        add_text_layers(kohya, base, "text_encoder_2", "lora_te3_", T5_LINEARS)
    return kohya.save(file)


def qwen_kohya(base, file, *, seed=600, text_encoder=True, dtype=torch.float16) -> Lora:
    """musubi-tuner's networks.lora_qwen_image: diffusers' names, flat."""
    kohya = Kohya(seed, rank=4, alpha=2.0, dtype=dtype)
    for name, shape in sorted(shapes_of(base, "transformer").items()):
        module = name.removesuffix(".weight")
        if name.endswith(".weight") and re.fullmatch(QWEN_BLOCK_LINEARS, module):
            kohya.add("lora_unet_" + module.replace(".", "_"), [(f"transformer/{name}", shape[0])], shape[1])
    if text_encoder:
        add_text_layers(kohya, base, "text_encoder", "lora_te1_", QWEN_TEXT_LINEARS)
    return kohya.save(file)


def flux_text_encoders(base, file, *, seed=700) -> Lora:
    """Only text encoders, in diffusers' spelling: CLIP and T5."""
    with quiet():
        clip = CLIPTextModel.from_pretrained(base, subfolder="text_encoder", dtype=torch.float32)
        t5 = T5EncoderModel.from_pretrained(base, subfolder="text_encoder_2", dtype=torch.float32)
    with_adapter(clip, LoraConfig(r=4, lora_alpha=4, target_modules=CLIP_LINEARS), seed, False, torch.float32)
    with_adapter(t5, LoraConfig(r=4, lora_alpha=4, target_modules=T5_LINEARS), seed + 1, False, torch.float32)
    tensors = {f"text_encoder.{name}": value for name, value in state_of(clip, torch.float32).items()}
    tensors |= {f"text_encoder_2.{name}": value for name, value in state_of(t5, torch.float32).items()}
    save_file(tensors, file, {"format": "pt"})
    truth = truth_of(clip, "text_encoder", clip_names) | truth_of(t5, "text_encoder_2")
    return Lora(pathlib.Path(file), truth)


def qwen_text_encoder(base, file, *, seed=800) -> Lora:
    with quiet():
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(base, subfolder="text_encoder", dtype=torch.float32)
    config = LoraConfig(r=4, lora_alpha=4, target_modules=r"model\.language_model\." + QWEN_TEXT_LINEARS)
    with_adapter(model, config, seed, False, torch.float32)
    tensors = {f"text_encoder.{name}": value for name, value in state_of(model, torch.float32).items()}
    save_file(tensors, file, {"format": "pt"})
    truth = truth_of(model, "text_encoder", lambda name: name.replace("model.language_model.", "model."))
    return Lora(pathlib.Path(file), truth)
