"""The model card of a checkpoint folder: the head that a hub reads, how the model is used, and what it is."""

from __future__ import annotations

from soundctm.checkpoints.components import Components

HEAD = """---
library_name: soundctm
pipeline_tag: text-to-audio
tags: [text-to-audio, sound-effects, consistency-model]
---
"""


def model_card(parts: Components, earlier: str | None = None) -> str:
    """The card of the model that `parts` came from, where it has one, else a new one. It names no licence."""
    if earlier is not None:
        return earlier
    defaults, networks = parts.sampling, list(parts.networks())
    rows = [f"| {name}: {type(network).__name__} | {_millions(network)} |" for name, network in networks]
    if parts.codec is not None:
        rows.append(f"| codec: {type(parts.codec).__name__} | {_millions(parts.codec)} |")
    if parts.text_encoder is not None:
        rows.append(f"| text encoder: {parts.text_encoder.name} | {_millions(parts.text_encoder)} |")
    seconds = defaults.seconds or (parts.codec.default_seconds if parts.codec is not None else None)
    rate = defaults.sampling_rate or (parts.codec.sampling_rate if parts.codec is not None else None)
    trained = "" if defaults.omega_range is None else ", trained on {:g} to {:g}".format(*defaults.omega_range)
    settings = [
        f"- clips: {seconds} s at {rate} Hz",
        f"- steps: {defaults.steps}, sampler {defaults.sampler}; as a teacher {defaults.teacher_steps} Heun levels",
        f"- omega: {defaults.omega}{trained}; nu: {defaults.nu:g}",
    ]
    weights = networks[0][0] if networks else "ema"
    return "\n".join([
        HEAD, "# SoundCTM\n", "Text to sound in one to a few network steps.\n", "```python",
        "from soundctm import SoundCTMPipeline\n",
        f'pipe = SoundCTMPipeline.from_pretrained("FOLDER or hub id", "{weights}")',
        'pipe("a dog barking", seed=7).save("dog.wav")', "```\n", "| part | parameters |", "|---|---|", *rows, "",
        *settings, "", "Licence: not said by who saved it. Add it to the head of this card.", "",
    ])  # fmt: skip


def _millions(module) -> str:
    return f"{sum(value.numel() for value in module.parameters()) / 1e6:.1f} M"
