"""How each printed command is run in a clone, and what cannot be.

As printed, but for four marks. SHORTER: further options, where the whole takes hours. BEGUN: as printed, and told to
stop once its first step is logged. FILLED: letters that stand for something of the reader's. NOT_HERE: not run at all,
for the reason that is given; its options are read (docs/test_documented_commands.py). Files that must be fetched are
stand-ins of the same form with random weights (stand_ins.py).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

NOT_HERE = {
    r"^(hf|curl|apt-get|git) |build_corpus": "it fetches from a network that tests do not use",
    r"^(pip|uv) |^(source|docker) |^cd ": "it sets up what tests have; test_installing.py runs the installations",
    r"mkdocs serve": "it ends when it is told to",
    r"^soundctm serve|service.cluster": "it ends when it is told to; tests of the service start it",
    r"^soundctm studio$|^bash studio.sh$": "it ends when it is told to; the studio's test_run.py starts it",
    r"SoundCTM/manifest.csv": "it takes a sound that the page has made; see test_routes.py of the studio",
    r"^python -m$|^accelerate launch$|^python ctm_inference.py$|^soundctm \w+$(?<!info)": "it is no whole command",
    r" \.\.\.|--help$": "it is the beginning of one, or asks for help",
    r"bash run_tests.sh|-m pytest": "it is these tests",
    r"ckpt/(full|official|soundctm_dit|dit-v2)|exp/dit-v2|pytorch_model_2|ac_v2_ema": "see test_official_commands.py",
    r"--device cuda|multi_gpu|multi_node|configs/dit/teacher": "it needs a GPU: its networks alone fill 20 GB, or CUDA",
    r"from_bundle.sh \w+ [57] back": "it is for a GPU; the page has its form for a CPU, which is run",
    r"exp/ablation/seed78": "it compares two trainings of a quarter of an hour; the one before it is run",
}
BEGUN = {  # its log
    r"^bash ctm_train.sh$": "exp/distill/log.jsonl",
    r"^bash ctm_train.sh dit$": "exp/dit-teacher/log.jsonl",
    r"^bash ctm_train.sh all$": "exp/vocoder/log.jsonl",
}
TRAINED = "--items 24 --validation_items 8 --per_device_train_batch_size 2 --sample_clips 2"
SHORTER = {
    r"ctm_train.py (vae|vocoder)": "--steps 2 --batch_size 2",
    r"ctm_train.py teacher (?!.*validate_data)(?=.*train_file)": "--max_train_steps 2 --per_device_train_batch_size 2",
    r"ctm_train.py teacher .*--bundle": "--max_train_steps 2 --per_device_train_batch_size 2",
    r"ctm_train.py teacher (?!.*(train_file|bundle))": f"{TRAINED} --max_train_steps 2",
    r"ctm_train.py distill (?!.*validate_data)(?=.*train_file)": "--total_training_steps 2 --trajectories 8 "
    "--per_device_train_batch_size 2",
    r"ctm_train.py distill (?!.*train_file)": f"{TRAINED} --total_training_steps 2 --trajectories 8",
    r"accelerate/cpu.yaml": "--resume_from_checkpoint none",
    r"single_gpu.yaml": "--total_batch_size 2 --num_heun_step 2 --start_scales 4 --cpu true --mixed_precision no",
    r"exp/full/model": "--keep_silent",  # the small stand-in of its codec makes nothing that is heard
    r"bundle make": "--items 24 --validation_items 8",
    r"models.sweep": "--steps 1 --samplers deterministic --omega 3.5 --nu 1 --teacher_steps 2 --teacher_omega 3.5",
    r"models.yardstick": "--seeds 1 --clips 1",
    r"models.teacher_distance": "--clips 2 --teacher_steps 4",
    r"benchmarks.codec_quality": "--clips 8",
    r"^soundctm generate .* -o \S+\.(wav|flac)": "--overwrite",  # pages name the same file
    r"benchmarks.editing": "--parts memory --seconds 6",
    r"benchmarks.service": "--seconds 5 --clients 4",
    r"benchmarks.evaluation": "--clips 20",
    r"benchmarks.kills": "--kills 1 --kinds generation",
    r"benchmarks.train_step": "--size tiny --cpu --repeats 1",
    r"benchmarks.inference(?!.*cuda)": "--repeats 1",
    r"benchmarks.inference(?!.*(cuda|mini))": "--size tiny",
    r"benchmarks/gpu.sh$": "--cpu",
    r"benchmarks.solver_error": "--clips 2",
}
FILLED = {
    r"(?<=exp/ablation/NAME/model )(.*)DIR": r"\1outputs/l2",
    r"\bN\b": "1",
    r"\bNAME\b": "l2",
    r"\bOPTION\b": "--loss_type l2",
    r"\bDIR\b": "outputs/classes",
    r"\bFILE\.h5\.gz": "ckpt/extractors/openl3_audio_mel256_env-v0_4_0.h5.gz",
    r"\bFILE\b": "exp/bundle.safetensors",
    r"(?<=--codec )CODEC (?=--teacher)": "standin/codec ",
    r"\bCODEC\b": "ckpt/mini/codec",
    r"(?<=--teacher )TEACHER\b": "standin/teacher",
    r"\bTEACHER\b": "ckpt/mini/teacher",
}
BARE = {  # named within a sentence; their options are in the text around them
    "python -m soundctm.evaluation.models.sweep": "--checkpoint ckpt/mini --captions data/test_captions.csv "
    "--reference_dir outputs/reference --output_dir outputs/sweep",
    "python -m soundctm.evaluation.models.round_trip": "--input_dir outputs/reference --output_dir outputs/round_trip",
}
FIRST = r"^bash numerical_evaluation.sh$|^(?!.*exp/).*--test_file data/class_prompts.csv"  # others read what they write
LATER = r"checkpoints.assemble|back/teacher.tar"  # of what the page makes further down
SECONDS = 1800  # that a command may take on a busy core


def reason(command: str) -> str | None:
    """Why a command is not run here, if it is not."""
    return next((why for pattern, why in NOT_HERE.items() if re.search(pattern, command)), None)


def in_order(listed: list[str]) -> list[str]:
    """Each command once, and those that write what others read before them."""
    return sorted(dict.fromkeys(listed), key=lambda c: (not re.search(FIRST, c), bool(re.search(LATER, c))))


def to_run(command: str) -> str:
    """The command as it is run."""
    command = f"{command} {BARE[command]}" if command in BARE else command
    for pattern, filling in FILLED.items():
        command = re.sub(pattern, filling, command)
    return " ".join([command, *(more for pattern, more in SHORTER.items() if re.search(pattern, command))])


def run(command: str, clone: Path, **settings: str) -> None:
    """Run a printed command in the clone, in a shell whose Python is that of the tests. It must end with 0."""
    begun, whole = time.perf_counter(), to_run(command)
    log = next((log for pattern, log in BEGUN.items() if re.search(pattern, command)), None)
    process = _start(whole, clone, settings)
    try:
        if log is not None:
            _stop_after_first_step(process, clone / log)
        out, err = process.communicate(timeout=SECONDS)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    print(f"{time.perf_counter() - begun:6.1f} s  {process.returncode}  {whole}", flush=True)
    wanted = 0 if log is None else 143
    assert abs(process.returncode) in (wanted, wanted % 128), f"{whole}\n{out[-2000:]}\n{err[-3000:]}"


def _start(command: str, clone: Path, settings: dict[str, str]) -> subprocess.Popen:
    place = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": place, "SOUNDCTM_PYTHON": sys.executable, "HF_HUB_OFFLINE": "1"}
    env |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(clone), "HF_HOME": str(clone / "standin" / "hub"), **settings}
    installed = 'soundctm() { python -m soundctm "$@"; }; '  # as if it were; an installed package would hide the clone
    return subprocess.Popen(
        ["bash", "-c", installed + command],
        cwd=clone,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _stop_after_first_step(process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < end:
        if log.is_file() and '"step"' in log.read_text():
            os.killpg(process.pid, signal.SIGTERM)
            return
        time.sleep(1)
