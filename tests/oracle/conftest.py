# SPDX-License-Identifier: MIT
"""Shared by the oracle suite: the program under test, small checkpoints, LoRAs, Python mflux's saves, figures."""

import os
import pathlib
import shutil
import subprocess
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import pytest
from safetensors.torch import load_file, save_file

import checkpoints
import loras
import mflux_tiny

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
FIGURES = []


def pytest_terminal_summary(terminalreporter):
    if not FIGURES:
        return
    terminalreporter.section("figures")
    for line in FIGURES:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def figure():
    """figure("what was measured: ...") puts a line under the test results."""
    return FIGURES.append


class Program:
    def __init__(self, path: pathlib.Path):
        self.path = path

    def __call__(self, *arguments, expect: int = 0) -> subprocess.CompletedProcess:
        command = [str(self.path), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == expect, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def save(self, model, out, *arguments, expect: int = 0) -> pathlib.Path:
        self("save", "--model", model, "--path", out, *arguments, expect=expect)
        return pathlib.Path(out)


@pytest.fixture(scope="session")
def program() -> Program:
    path = pathlib.Path(os.environ.get("MFLUX_PROGRAM", REPOSITORY / "build" / "mflux"))
    assert path.is_file(), f"{path}: no program; build it, or set MFLUX_PROGRAM"
    return Program(path)


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oracle")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def out(tmp_path):
    """A path for one output, removed at once after the test: there are many."""
    yield tmp_path / "out"
    shutil.rmtree(tmp_path / "out", ignore_errors=True)


class Sources:
    """Checkpoints and LoRAs by name, made when first asked for."""

    MODELS = {
        "flux": lambda folder: checkpoints.flux(folder),
        "schnell": lambda folder: checkpoints.flux(folder, guidance=False, seed=21),
        "qwen": lambda folder: checkpoints.qwen(folder),
    }
    LORAS = {
        "flux-pipeline": ("flux", loras.flux_pipeline),
        "flux-pipeline-exact": ("flux", lambda base, to: loras.flux_pipeline(base, to, exact=True)),
        "flux-blocks-exact": (
            "flux",
            lambda base, to: loras.flux_pipeline(base, to, exact=True, text_encoder=False),
        ),
        "flux-adapter": ("flux", loras.flux_adapter),
        "flux-kohya": ("flux", lambda base, to: loras.flux_kohya(base, f"{to}.safetensors")),
        "flux-text-encoders": ("flux", lambda base, to: loras.flux_text_encoders(base, f"{to}.safetensors")),
        "qwen-pipeline": ("qwen", loras.qwen_pipeline),
        "qwen-pipeline-exact": ("qwen", lambda base, to: loras.qwen_pipeline(base, to, exact=True)),
        "qwen-peft": ("qwen", loras.qwen_peft),
        "qwen-kohya": ("qwen", lambda base, to: loras.qwen_kohya(base, f"{to}.safetensors")),
        "qwen-blocks": (
            "qwen",
            lambda base, to: loras.qwen_kohya(base, f"{to}.safetensors", text_encoder=False),
        ),
        "qwen-text-encoder": ("qwen", lambda base, to: loras.qwen_text_encoder(base, f"{to}.safetensors")),
    }

    def __init__(self, work: pathlib.Path):
        self.work = work
        self.made = {}

    def model(self, name: str) -> pathlib.Path:
        return self.once(f"model-{name}", self.MODELS[name])

    def base_of(self, lora: str) -> str:
        return self.LORAS[lora][0]

    def lora(self, name: str) -> loras.Lora:
        base, make = self.LORAS[name]
        return self.once(f"lora-{name}", lambda to: make(self.model(base), to))

    def mflux_save(self, name: str, bits: int | None, lora: str | None = None) -> pathlib.Path:
        """The folder that Python's mflux saves of it."""

        def make(folder):
            merged = [(self.lora(lora).file, 1.0)] if lora else []
            mflux_tiny.load(self.model(name), self.model(name), quantize=bits, loras=merged).save_model(str(folder))
            return folder

        return self.once(f"mflux-{name}-{bits}-{lora}", make)

    def once(self, key: str, make):
        if key not in self.made:
            self.made[key] = make(self.work / key)
        return self.made[key]


@pytest.fixture(scope="session")
def sources(work) -> Sources:
    return Sources(work)


@pytest.fixture(scope="session")
def bfloat16(program, sources) -> None:
    """For tests of products in bfloat16."""
    command = [program.path, "generate", "--model", sources.model("flux"), "--cpu-precision", "bfloat16", "--dry-run"]
    if subprocess.run(command, capture_output=True).returncode == 2:
        pytest.skip("no bfloat16 instructions here, or no oneDNN")


@pytest.fixture(scope="session")
def float32_base(work):
    """A transformer in float32, alone in its folder: what is written is the float32 sum itself."""
    made = {}

    def get(family: str) -> pathlib.Path:
        if family not in made:
            whole, alone = work / f"{family}-whole", work / f"{family}-float32"
            getattr(checkpoints, family)(whole, edges=False)
            (alone / "transformer").mkdir(parents=True)
            shutil.copy(whole / "transformer" / "config.json", alone / "transformer")
            tensors = {
                name: value.float() for file in (whole / "transformer").glob("*.safetensors")
                for name, value in load_file(file).items()
            }  # fmt: skip
            save_file(tensors, alone / "transformer" / "diffusion_pytorch_model.safetensors", {"format": "pt"})
            made[family] = alone
        return made[family]

    return get
