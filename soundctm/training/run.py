"""A run of `ctm_train.py`: which part is trained, its options, and what wrong ones say."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence

from soundctm.command import WRONG, Parser, print_any_name, sentence
from soundctm.config import add_arguments, config_from_args
from soundctm.errors import UserError

FIRST_PROCESS = os.environ.get("RANK", "0") == "0"
TASKS = "soundctm.training.tasks"
PARTS = {  # name: (module with `train(config)`, its configuration, what it is)
    "distill": (f"{TASKS}.distill", "DistillConfig", "the student, from a trained teacher"),
    "teacher": (f"{TASKS}.teacher", "TeacherConfig", "the EDM diffusion model that is distilled"),
    "vae": (f"{TASKS}.codec.vae", "VAETrainingConfig", "the mel VAE"),
    "patches": (
        f"{TASKS}.codec.patches",
        "PatchConfig",
        "the linear mel VAE of the small model, in a minute",
    ),
    "vocoder": (f"{TASKS}.codec.vocoder", "VocoderTrainingConfig", "the vocoder"),
}
HELP = """Train the parts of SoundCTM; without a name of a part `distill` is meant.

    {program} teacher --config configs/mini/teacher.yaml
    {launched} --config configs/mini/distill.yaml --output_dir exp/distill

Every part shows progress, writes checkpoints and goes on from the latest one when started again.
"""


def main(arguments: Sequence[str], program: str = "ctm_train.py") -> int:
    """Parse, build, call. Returns the exit code: 0, 2 when something given is wrong, 1 for data with problems.

    `program` is what the user called. SIGTERM and SIGINT end a training with 143 and 130 after a checkpoint
    (soundctm.training.running.stop).
    """
    name, arguments = "distill", list(arguments)
    if arguments and not arguments[0].startswith("-"):
        name = arguments.pop(0)
    elif not arguments or arguments[0] in ("-h", "--help"):
        print(_help(program))
        return 0
    if name not in PARTS:
        print(f"error: no part {name!r} to train; they are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    module_name, config_name, what = PARTS[name]
    module = importlib.import_module(module_name)
    config_class = getattr(module, config_name)
    parser = Parser(prog=f"{program} {name}", description=f"Train {what}.", allow_abbrev=False)
    add_arguments(parser, config_class)
    if name == "distill":
        module.add_dead_flags(parser)
    try:
        config = config_from_args(config_class, parser.parse_args(arguments))
        if getattr(config, "validate_data", False):
            return 0 if importlib.import_module("soundctm.training.inputs.sounds").check_data(config) else 1
        folder = module.train(config)
    except (UserError, OSError) as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
        return WRONG
    if FIRST_PROCESS:
        print(f"finished: {folder}")
    return 0


def command(arguments: Sequence[str], program: str) -> int:
    """`soundctm train ...`."""
    show_messages()
    return main(arguments, program)


def show_messages() -> None:
    """What a training tells while it runs, of the first of its processes; of the others warnings alone."""
    print_any_name()
    level = logging.INFO if FIRST_PROCESS else logging.WARNING
    logging.basicConfig(level=level, format="%(name)s: %(message)s")


def _help(program: str) -> str:
    script, module = program.endswith(".py"), program.removeprefix("python -m ")
    text = HELP.format(
        program=f"python {program}" if script else program,
        launched=f"accelerate launch {program if script else '-m ' + module}",
    )
    parts = "\n".join(f"  {part:10}{what}" for part, (_, _, what) in PARTS.items())
    return f"{text}\n{parts}\n\n`{program} PART --help` lists the options of a part."
