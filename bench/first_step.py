# SPDX-License-Identifier: MIT
"""Seconds from start to the first step of a picture, ours and Python mflux's.

Both load, read the prompt with the text encoders and load the transformer. Ours then makes one step, whose time it says
and which is taken off (decoding is counted against it); mflux is stopped where its first step begins. The model is
that of bench/generate.py; its tiny text encoders do not fit mflux's groups of 64, so it is not packed.

    python bench/first_step.py --model /dev/shm/generate/flux
"""

import argparse
import pathlib
import statistics
import sys
import tempfile

import generate
from measure import machine, measure

HERE = pathlib.Path(__file__).resolve().parent
ORACLE = HERE.parent / "tests" / "oracle"


def peer(model: str) -> None:
    sys.path.insert(0, str(ORACLE))
    import mflux_pictures
    from mflux.models.flux.model.flux_transformer.transformer import Transformer
    from mflux.models.qwen.model.qwen_transformer.qwen_transformer import QwenTransformer
    from mlx.core import eval as evaluate

    def begin(self, *_, **inputs):
        # MLX is lazy: the prompt is read, and the weights are, only when asked for.
        evaluate(self.parameters(), [value for value in inputs.values() if hasattr(value, "shape")])
        sys.exit(0)

    Transformer.__call__ = QwenTransformer.__call__ = begin
    mflux_pictures.picture(model, "a red circle", seed=1, steps=2, height=64, width=64)
    sys.exit("mflux made a picture without a step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True, help="folder, on memory-backed storage")
    parser.add_argument("--program", type=pathlib.Path, default=HERE.parent / "build" / "mflux")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        peer(str(arguments.model))
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        out, log = work / "out.png", work / "log.txt"
        options = argparse.Namespace(program=arguments.program, work=work, pixels=16, steps=1)
        rows = {
            "mflux.cpp": generate.ours(options, arguments.model),
            "Python mflux": [sys.executable, __file__, "--peer", "--model", arguments.model],
        }
        for name, command in rows.items():
            runs = []
            for _ in range(arguments.runs):
                out.unlink(missing_ok=True)
                run = measure(command, log)
                runs.append(run.seconds - (generate.seconds_per_step(log) if name == "mflux.cpp" else 0))
            print(f"{name:14} {statistics.median(runs):6.2f} s ({min(runs):.2f} to {max(runs):.2f})", flush=True)


if __name__ == "__main__":
    main()
