# SPDX-License-Identifier: MIT
"""Which rows of Black Forest Labs' file diffusers' own converter makes each of its tensors of.

usage: models_bfl_rows.py > ../data/models/bfl-rows.txt
One line per tensor of one double and one single block: name, then runs "source begin count". The converter knows only
the real widths; one column is enough to follow the rows.
"""

import torch
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers

H, M, D = 3072, 12288, 128
LAYERS = {
    "img_in": H, "txt_in": H, "final_layer.linear": 64, "final_layer.adaLN_modulation.1": 2 * H,
    **{f"{e}_in.{layer}": H for e in ("time", "vector", "guidance") for layer in ("in_layer", "out_layer")},
    **{
        f"double_blocks.0.{side}_{layer}": rows
        for side in ("img", "txt")
        for layer, rows in {
            "mod.lin": 6 * H, "attn.qkv": 3 * H, "attn.proj": H, "mlp.0": M, "mlp.2": H,
        }.items()
    },
    "single_blocks.0.modulation.lin": 3 * H, "single_blocks.0.linear1": 3 * H + M,
    "single_blocks.0.linear2": H,
}
NORMS = [
    f"{block}.{which}_norm.scale"
    for block in ("double_blocks.0.img_attn.norm", "double_blocks.0.txt_attn.norm", "single_blocks.0.norm")
    for which in ("query", "key")
]


def main():
    shapes = {}
    for layer, rows in LAYERS.items():
        shapes[f"{layer}.weight"] = (rows, 1)
        shapes[f"{layer}.bias"] = (rows,)
    shapes |= {norm: (D,) for norm in NORMS}
    starts, checkpoint, total = [], {}, 0
    for name, shape in shapes.items():
        starts.append((total, name))
        checkpoint[name] = torch.arange(total, total + shape[0], dtype=torch.float64).reshape(shape)
        total += shape[0]
    for name, tensor in sorted(convert_flux_transformer_checkpoint_to_diffusers(checkpoint).items()):
        print(name, *runs(tensor.flatten().long().tolist(), starts))


def runs(rows, starts):
    words, begin = [], 0
    for end in range(1, len(rows) + 1):
        if end < len(rows) and rows[end] == rows[end - 1] + 1:
            continue
        start, name = max(s for s in starts if s[0] <= rows[begin])
        words += [name, str(rows[begin] - start), str(end - begin)]
        begin = end
    return words


main()
