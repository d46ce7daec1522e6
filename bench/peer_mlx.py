# SPDX-License-Identifier: MIT
"""The same bake as a straightforward MLX-Python script: merge in float32, mx.quantize, mx.save_safetensors.

python peer_mlx.py MODEL LORA OUT BITS     MODEL: diffusers folder; LORA: diffusers keys, alpha = rank
"""

import json
import pathlib
import shutil
import sys

import mlx.core as mx

GROUP_SIZE = 64


def quantizable(name: str, value: mx.array) -> bool:
    return name.endswith(".weight") and value.ndim == 2 and value.shape[1] % GROUP_SIZE == 0


def bake_shard(shard: dict, lora: dict, bits: int) -> dict:
    out = {}
    for name, weight in shard.items():
        layer = name.removesuffix(".weight")
        up, down = lora.get(f"transformer.{layer}.lora_B.weight"), lora.get(f"transformer.{layer}.lora_A.weight")
        dtype = weight.dtype
        if up is not None and name.endswith(".weight"):
            weight = weight.astype(mx.float32) + up.astype(mx.float32) @ down.astype(mx.float32)
        if not quantizable(name, weight):
            out[name] = weight.astype(dtype)
            continue
        packed, scales, biases = mx.quantize(weight, group_size=GROUP_SIZE, bits=bits)
        out[name] = packed
        out[f"{layer}.scales"] = scales.astype(dtype)
        out[f"{layer}.biases"] = biases.astype(dtype)
        mx.eval(out[name], out[f"{layer}.scales"], out[f"{layer}.biases"])
    return out


def main() -> None:
    model, lora_file, out, bits = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3]), int(sys.argv[4])
    mx.set_default_device(mx.cpu)
    shutil.copytree(model, out, ignore=lambda folder, names: names if pathlib.Path(folder).name == "transformer" else [])
    lora = mx.load(lora_file)
    weight_map = {}
    for index, file in enumerate(sorted((model / "transformer").glob("*.safetensors"))):
        tensors = bake_shard(mx.load(str(file)), lora, bits)
        mx.save_safetensors(str(out / "transformer" / f"{index}.safetensors"), tensors, {"quantization_level": str(bits)})
        weight_map |= {name: f"{index}.safetensors" for name in tensors}
    index_file = out / "transformer" / "model.safetensors.index.json"
    index_file.write_text(json.dumps({"metadata": {"quantization_level": str(bits)}, "weight_map": weight_map}))


if __name__ == "__main__":
    main()
