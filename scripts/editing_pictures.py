"""The pictures of docs/editing.md: spectrograms before and after each operation, made with the small model.

python scripts/editing_pictures.py          # writes docs/editing/*.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from soundctm.control import METHODS, Control, Curve, Objective, intensity, shape
from soundctm.editing import Blend
from soundctm.files import write_whole
from soundctm.inference.spectrogram import draw_levels, new_figure, png_bytes, write_title
from soundctm.mels import mel_power, to_db
from soundctm.pipeline import SoundCTMPipeline

ROOT = Path(__file__).resolve().parents[1]


def draw(path: Path, sounds: dict[str, np.ndarray], rate: int) -> None:
    """Mel spectrograms side by side on one scale."""
    powers = {title: mel_power(audio, rate) for title, audio in sounds.items()}
    top = max(float(power.max()) for power in powers.values())
    figure = new_figure(3.4 * len(sounds), 2.6, layout="constrained")
    for axes, (title, power) in zip(np.atleast_1d(figure.subplots(1, len(sounds))), powers.items(), strict=True):
        draw_levels(axes, to_db(power, top), len(sounds[title]) / rate, rate)
        write_title(axes, title, 40, 9.0)
    write_whole(path, png_bytes(figure))


def low_passed(audio: np.ndarray, rate: int, hz: float) -> np.ndarray:
    """`audio` as a recording of twice `hz` would have it."""
    spectrum = np.fft.rfft(audio)
    spectrum[np.fft.rfftfreq(len(audio), 1 / rate) > hz] = 0
    return np.fft.irfft(spectrum, len(audio)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default=str(ROOT / "ckpt" / "mini"))
    parser.add_argument("--output_dir", type=Path, default=ROOT / "docs" / "editing")
    args = parser.parse_args()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    pipe = SoundCTMPipeline.from_pretrained(args.checkpoint, device="cpu")
    rate = pipe.codec.sampling_rate
    text, steps = "a dog barking", {"num_inference_steps": 4, "seed": 1}
    full = Control(
        Objective(intensity, Curve(((0.0, -25.0),))), candidates=16, iterations=0
    )  # something to see all along
    clip = pipe(text, control=full, **steps).audios[0]

    def show(name: str, **after: np.ndarray) -> None:
        sounds = {
            "before": clip,
            **{title.replace("_", " ").replace("0 ", "0."): audio for title, audio in after.items()},
        }
        draw(args.output_dir / f"{name}.png", sounds, rate)

    show("vary", strength_0_2=pipe.vary(text, clip, strength=0.2, **steps).audios[0],
         strength_0_5=pipe.vary(text, clip, strength=0.5, **steps).audios[0])  # fmt: skip
    show("inpaint", after=pipe.inpaint(text, clip, [(1.0, 1.6)], **steps).audios[0])
    show("extend", after=pipe.extend(text, clip, after=2.0, **steps).audios[0])
    show("loop", twice=np.tile(pipe.make_loop(text, clip, **steps).audios[0], 2))
    hiss = pipe("a crowd applauding", control=full, **steps).audios[0]
    narrow = low_passed(hiss, rate, 4000.0)
    wide = pipe.make_bands("a crowd applauding", narrow, [(4000, 8000)], **steps).audios[0]
    draw(args.output_dir / "bands.png", {"before, at 8 kHz": narrow, "after": wide}, rate)
    show("blend", along_to_rain=pipe(text, blend=Blend("rain", share=(0.0, 1.0)), control=full, **steps).audios[0])
    objective = Objective(intensity, shape("rise", len(clip) / rate))
    show("control", **{m: pipe(text, control=Control(objective, m), **steps).audios[0] for m in METHODS})
    long = pipe("rain", seconds=12.0, **steps).audios[0]
    draw(args.output_dir / "length.png", {"12 s of rain, windows of 2.56 s": long}, rate)


if __name__ == "__main__":
    main()
