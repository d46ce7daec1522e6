# SPDX-License-Identifier: MIT
"""Pictures by Python mflux 0.24.0 from models of any size.

mflux_tiny gives its modules the small model's weights; its attention and normalization also hold numbers of heads and
widths, which are set here before anything is computed.

As a script: python mflux_pictures.py FOLDER OUT.png PROMPT SEED STEPS HEIGHT WIDTH [NEGATIVE]
"""

import functools
import inspect
import json
import math
import pathlib
import sys
import textwrap

import mflux_tiny
import mlx.core as mx
from mflux.models.flux.model.flux_text_encoder.clip_encoder import clip_sdpa_attention
from mflux.models.flux.model.flux_text_encoder.t5_encoder import t5_self_attention
from mflux.models.flux.model.flux_transformer import ada_layer_norm_zero
from mflux.models.flux.variants.txt2img.flux import Flux1
from mflux.models.qwen.model.qwen_transformer.qwen_rope import QwenEmbedRopeMLX


def config_of(folder, component: str) -> dict:
    return json.loads((pathlib.Path(folder) / component / "config.json").read_text())


@functools.cache
def source_of(owner: type, method: str) -> str:
    return textwrap.dedent(inspect.getsource(getattr(owner, method)))


def rewrite(owner: type, method: str, numbers: dict[str, str]) -> None:
    """Compiles a method again with other numbers in its text."""
    text = source_of(owner, method)
    for before, after in numbers.items():
        assert before in text, f"{owner.__name__}.{method} has no {before}"
        text = text.replace(before, after)
    module = sys.modules[owner.__module__]
    names: dict = {}
    exec(compile(text, module.__file__, "exec"), module.__dict__, names)
    setattr(owner, method, names[method])


def set_heads(modules, heads: int, width: int) -> None:
    for module in modules:
        for name, value in (("num_heads", heads), ("head_dimension", width), ("head_dim", width)):
            if hasattr(module, name):
                setattr(module, name, value)


def fit_flux(model, folder) -> None:
    config = config_of(folder, "transformer")
    heads, width = config["num_attention_heads"], config["attention_head_dim"]
    transformer = model.transformer
    transformer.pos_embed.axes_dim = list(config["axes_dims_rope"])
    set_heads([m for _, m in transformer.named_modules()], heads, width)
    hidden = heads * width
    transformer.norm_out.embedding_dim = hidden
    for block in transformer.single_transformer_blocks:
        block.norm.dim = hidden
    rewrite(ada_layer_norm_zero.AdaLayerNormZero, "__call__", {"18432": str(6 * hidden)})
    clip = config_of(folder, "text_encoder")
    attention = clip_sdpa_attention.CLIPSdpaAttention
    attention.num_heads = clip["num_attention_heads"]
    attention.head_dimension = clip["hidden_size"] // clip["num_attention_heads"]
    t5 = config_of(folder, "text_encoder_2")
    rows, columns = t5["num_heads"], t5["d_kv"]
    owner = t5_self_attention.T5SelfAttention
    owner.shape = staticmethod(lambda x: mx.transpose(mx.reshape(x, (1, -1, rows, columns)), (0, 2, 1, 3)))
    owner.un_shape = staticmethod(lambda x: mx.reshape(mx.transpose(x, (0, 2, 1, 3)), (1, -1, rows * columns)))


def fit_qwen(model, folder) -> None:
    config = config_of(folder, "transformer")
    heads, width = config["num_attention_heads"], config["attention_head_dim"]
    set_heads([m for _, m in model.transformer.named_modules()], heads, width)
    rope = QwenEmbedRopeMLX(theta=10000, axes_dim=list(config["axes_dims_rope"]), scale_rope=True)
    model.transformer.pos_embed = rope
    model.transformer.inner_dim = heads * width
    model.transformer.norm_out.embedding_dim = heads * width
    for _, module in model.vae.named_modules():
        if type(module).__name__ == "QwenImageRMSNorm":
            module.scale = math.sqrt(module.weight.size)
    text = config_of(folder, "text_encoder")
    text = text.get("text_config", text)
    for layer in model.text_encoder.encoder.layers:
        attention = layer.self_attn
        attention.hidden_size = text["hidden_size"]
        attention.num_attention_heads = text["num_attention_heads"]
        attention.num_key_value_heads = text["num_key_value_heads"]
        attention.head_dim = text["hidden_size"] // text["num_attention_heads"]
        attention.num_key_value_groups = text["num_attention_heads"] // text["num_key_value_heads"]
        attention.scaling = 1 / math.sqrt(attention.head_dim)
        attention.rope_scaling = {"mrope_section": (text.get("rope_parameters") or text["rope_scaling"])["mrope_section"]}


def picture(
    folder, prompt: str, *, seed: int, steps: int, height: int, width: int, negative=None, kind=Flux1, **options
):
    """A PIL image."""
    model = mflux_tiny.load(folder, folder, kind=kind)
    (fit_flux if mflux_tiny.is_flux(folder) else fit_qwen)(model, folder)
    if negative is not None:
        options |= dict(negative_prompt=negative)
    try:
        made = model.generate_image(
            seed=seed,
            prompt=prompt,
            num_inference_steps=steps,
            height=height,
            width=width,
            guidance=3.5,
            **options,
        )
    finally:
        rewrite(ada_layer_norm_zero.AdaLayerNormZero, "__call__", {})  # as it was, for tests of the real width
    return made.image


def main() -> None:
    folder, out, prompt = sys.argv[1:4]
    seed, steps, height, width = map(int, sys.argv[4:8])
    negative = sys.argv[8] if len(sys.argv) > 8 else None
    picture(folder, prompt, seed=seed, steps=steps, height=height, width=width, negative=negative).save(out)


if __name__ == "__main__":
    main()
