"""The start of a command: what is not needed for a clip is not imported, and the user sees at once that it runs."""

import os
import subprocess
import sys

from script_runs import ROOT

UNNEEDED = (
    "torch._dynamo", "torch._inductor", "torch.distributed.tensor", "sympy", "scipy.stats", "scipy.optimize", "sklearn",
    "diffusers.models.transformers", "diffusers.models.controlnets", "pandas", "matplotlib",
)  # fmt: skip
CLIP = f"""
import sys
from soundctm.inference.run import main
assert main(["--prompt", "rain", "--output_dir", sys.argv[1], "--device", "cpu"]) == 0
print([name for name in {UNNEEDED} if name in sys.modules])
"""
WHOLE = """
import torch
from soundctm.audioldm.library import AutoencoderKL, UNet2DConditionModel
import diffusers
assert diffusers.UNet2DConditionModel is UNet2DConditionModel and diffusers.AutoencoderKL is AutoencoderKL
from diffusers.models.transformers import SD3Transformer2DModel
from torch.distributed.tensor import DTensor
from diffusers.models.unets.unet_2d_blocks import Transformer2DModel
from transformers.core_model_loading import DtensorShardOperation
assert not isinstance(1, DtensorShardOperation) and DTensor.from_local
doubled = torch.compile(lambda x: 2 * x, backend="eager")
assert doubled(torch.ones(2)).tolist() == [2.0, 2.0]
"""


def python(code, *arguments, path=()):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))} if path else None
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_clip_needs_no_compiler_no_algebra_and_no_other_networks(tmp_path):
    done = python(CLIP, str(tmp_path / "out"))
    assert done.stdout.strip().splitlines()[-1] == "[]"
    assert done.stderr.startswith("loading"), done.stderr


def test_the_first_line_comes_before_torch_is_imported():
    done = python(
        "import sys, soundctm.inference.run as run, soundctm.inference.output as o\n"
        "print([n for n in ('torch', 'transformers', 'diffusers', 'numpy.random') if n in sys.modules])"
    )
    assert done.stdout.strip() == "[]"


def test_afterwards_the_libraries_are_whole():
    python(WHOLE)


def test_beside_a_package_that_looks_into_what_is_left_out_nothing_is_left_out(tmp_path):
    (tmp_path / "peft.py").touch()  # found, though for the libraries it is not installed
    code = (
        "import sys, soundctm.audioldm.library; assert len(sys.modules['diffusers.models.transformers'].__dict__) > 40"
    )
    python(code, path=(tmp_path, ROOT))
