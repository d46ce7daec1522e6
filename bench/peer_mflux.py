# SPDX-License-Identifier: MIT
"""The same bake by Python's mflux 0.24.0: its own loader, LoRA folding and saver.

python peer_mflux.py MODEL LORA OUT BITS
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "oracle"))

import mflux_tiny


def main() -> None:
    model, lora, out, bits = sys.argv[1:5]
    mflux_tiny.load(model, model, quantize=int(bits), loras=[(lora, 1.0)]).save_model(out)


if __name__ == "__main__":
    main()
