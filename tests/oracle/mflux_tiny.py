# SPDX-License-Identifier: MIT
"""Python mflux 0.24.0 on models of any size: its own loader, LoRA code and saver.

mflux builds its modules with the widths and depths of the real models. MLX is lazy, so they cost nothing until they
are evaluated; here every parameter is replaced, before any weight is loaded, by one of the small model's shape that is
full of NaN, and text encoders are cut to the layers there are. What stays NaN was not found in the folder.

As a script: python mflux_tiny.py SHAPES SOURCE OUT [--quantize BITS] [--lora FILE SCALE]...
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import tempfile

os.environ.setdefault("MFLUX_CACHE_DIR", tempfile.gettempdir())
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import mlx.core as mx
from mflux.models.common.config import ModelConfig
from mflux.models.common.weights.loading.weight_loader import WeightLoader
from mflux.models.flux.flux_initializer import FluxInitializer
from mflux.models.flux.variants.txt2img.flux import Flux1
from mflux.models.flux.weights.flux_weight_definition import FluxWeightDefinition
from mflux.models.qwen.model.qwen_text_encoder.qwen_rope import QwenRotaryEmbedding
from mflux.models.qwen.model.qwen_transformer.qwen_transformer import QwenTransformer
from mflux.models.qwen.qwen_initializer import QwenImageInitializer
from mflux.models.qwen.variants.txt2img.qwen_image import QwenImage
from mflux.models.qwen.weights.qwen_weight_definition import QwenWeightDefinition
from mlx.utils import tree_flatten, tree_map

mx.set_default_device(mx.cpu)


def is_flux(folder) -> bool:
    return (pathlib.Path(folder) / "text_encoder_2").is_dir()


def has_guidance(tree: dict) -> bool:
    return "guidance_embedder" in tree["transformer"]["time_text_embed"]


@contextlib.contextmanager
def patched(owner, name: str, value):
    before = owner.__dict__[name]
    setattr(owner, name, staticmethod(value))
    try:
        yield
    finally:
        setattr(owner, name, before)


def source_tree(folder) -> dict:
    """All weights of a diffusers folder in mflux's names, read by mflux's own loader and mapping."""
    definition = FluxWeightDefinition if is_flux(folder) else QwenWeightDefinition
    return WeightLoader.load(weight_definition=definition, model_path=str(folder)).components


def fit(module, tree) -> None:
    """Gives the module's parameters the shapes of the tree, and NaN as their values."""
    module.update(tree_map(lambda leaf: mx.full(leaf.shape, mx.nan, dtype=leaf.dtype), tree), strict=False)


def fit_flux(model, tree: dict) -> None:
    model.t5_text_encoder.t5_blocks = model.t5_text_encoder.t5_blocks[: t5_depth(tree)]
    encoder = model.clip_text_encoder.text_model.encoder
    encoder.layers = encoder.layers[: len(tree["clip_encoder"]["text_model"]["encoder"]["layers"])]
    fit(model.vae, tree["vae"])
    fit(model.transformer, tree["transformer"])
    fit(model.t5_text_encoder, tree["t5_encoder"])
    fit(model.clip_text_encoder, tree["clip_encoder"])


def t5_depth(tree: dict) -> int:
    return len([block for block in tree["t5_encoder"]["t5_blocks"] if "ff" in block])


def head_width(folder) -> int:
    config = json.loads((pathlib.Path(folder) / "text_encoder" / "config.json").read_text())
    config = config.get("text_config", config)
    return config["hidden_size"] // config["num_attention_heads"]


def fit_qwen(model, tree: dict, head_width: int) -> None:
    encoder = model.text_encoder.encoder
    encoder.layers = encoder.layers[: len(tree["text_encoder"]["encoder"]["layers"])]
    for owner in [encoder, *(layer.self_attn for layer in encoder.layers)]:
        owner.rotary_emb = QwenRotaryEmbedding(dim=head_width)
    fit(model.vae, tree["vae"])
    fit(model.transformer, tree["transformer"])
    fit(model.text_encoder, tree["text_encoder"])


def flux_components(depth: int, components):
    return [
        dataclasses.replace(component, num_blocks=depth) if component.name == "t5_encoder" else component
        for component in components
    ]


def load(folder, shapes_of, *, quantize: int | None = None, loras=(), kind=Flux1):
    """mflux's model object from `folder`; `shapes_of`: the diffusers folder whose sizes it has. loras: (file, scale).

    kind: of FLUX.1, the class.
    """
    tree = source_tree(shapes_of)
    arguments = dict(
        quantize=quantize,
        model_path=str(folder),
        lora_paths=[str(file) for file, _ in loras] or None,
        lora_scales=[scale for _, scale in loras] or None,
    )
    return load_flux(tree, arguments, kind) if is_flux(shapes_of) else load_qwen(tree, head_width(shapes_of), arguments)


def load_flux(tree: dict, arguments: dict, kind):
    build = FluxInitializer._init_models
    components = FluxWeightDefinition.get_components

    def init_models(model, model_config, weights, custom_transformer=None):
        build(model, model_config, weights, custom_transformer)
        fit_flux(model, tree)

    depth = t5_depth(tree)
    if kind is Flux1:
        arguments |= dict(model_config=ModelConfig.dev() if has_guidance(tree) else ModelConfig.schnell())
    with (
        patched(FluxInitializer, "_init_models", init_models),
        patched(FluxWeightDefinition, "get_components", lambda: flux_components(depth, components())),
    ):
        return kind(**arguments)


def load_qwen(tree: dict, head_width: int, arguments: dict) -> QwenImage:
    build = QwenImageInitializer._init_models

    def init_models(model):
        build(model)
        model.transformer = QwenTransformer(num_layers=len(tree["transformer"]["transformer_blocks"]))
        fit_qwen(model, tree, head_width)

    with patched(QwenImageInitializer, "_init_models", init_models):
        return QwenImage(**arguments)


def components_of(model) -> dict:
    """Folder name -> module."""
    if isinstance(model, Flux1):
        return {
            "transformer": model.transformer,
            "vae": model.vae,
            "text_encoder": model.clip_text_encoder,
            "text_encoder_2": model.t5_text_encoder,
        }
    return {"transformer": model.transformer, "vae": model.vae, "text_encoder": model.text_encoder}


def parameters(module) -> dict[str, mx.array]:
    """What mflux would save."""
    return dict(tree_flatten(module.parameters()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("shapes_of")
    parser.add_argument("source")
    parser.add_argument("out")
    parser.add_argument("--quantize", type=int)
    parser.add_argument("--lora", nargs=2, action="append", default=[])
    arguments = parser.parse_args()
    loras = [(file, float(scale)) for file, scale in arguments.lora]
    load(arguments.source, arguments.shapes_of, quantize=arguments.quantize, loras=loras).save_model(arguments.out)


if __name__ == "__main__":
    main()
