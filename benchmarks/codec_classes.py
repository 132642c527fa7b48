"""Real training clips through the codec, for the class accuracy: how much of a class survives the vocoder and the VAE.

    python -m benchmarks.codec_classes --codec ckpt/mini/codec --corpus data/corpus --output_dir outputs/codec
    python -m soundctm.evaluation.models.class_accuracy --corpus data/corpus --quick \\
        --prompts outputs/codec/prompts.csv --generated outputs/codec/vocoder outputs/codec/round_trip
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import soundfile
from tqdm import tqdm

from soundctm.audioldm import AudioLDMCodec
from soundctm.command import exit_code
from soundctm.data.compose import ComposedCorpus
from soundctm.data.corpus import load_corpus
from soundctm.evaluation.models.classes import rows_by_class


def main() -> None:
    """Write `vocoder/`, `round_trip/` and their prompts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", default="ckpt/mini/codec")
    parser.add_argument("--corpus", default="data/corpus")
    parser.add_argument("--output_dir", default="outputs/codec", type=Path)
    parser.add_argument("--per_class", default=6, type=int, help="clips per class, spread over its recordings")
    args = parser.parse_args()
    codec = AudioLDMCodec.from_pretrained(args.codec)
    corpus = ComposedCorpus(load_corpus(args.corpus, "train"), args.corpus, speed_changes=False)
    classes = rows_by_class([row for rows in corpus.labels.values() for row in rows])
    folders = {name: args.output_dir / name for name in ("vocoder", "round_trip")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    prompts = []
    for number, (name, rows) in enumerate(tqdm(classes.items(), unit="class")):
        for i in range(args.per_class if rows else 0):
            waveform, caption, _ = corpus.from_row(rows[i * len(rows) // args.per_class], i)
            mel = codec.mel(waveform[None])
            file = f"{number:02d}_{i}.wav"
            decoded = codec.decode(codec.encode_mel(mel, sample_posterior=False))
            soundfile.write(folders["vocoder"] / file, codec.mel_to_waveform(mel)[0].numpy(), codec.sampling_rate)
            soundfile.write(folders["round_trip"] / file, decoded[0].numpy(), codec.sampling_rate)
            prompts.append((file, caption, name if isinstance(name, str) else name.name))
    with (args.output_dir / "prompts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file_name", "caption", "label"), *prompts])


if __name__ == "__main__":
    sys.exit(exit_code(main))
