"""What a reader of the docs has and a fresh clone lacks: own sounds, a corpus of 3.4 GB of packages, fetched files.

The corpus has every row of data/corpus.csv, with a short tone per label in the place of its recording. Fetched files
have the keys and shapes of the published ones where these are fixed, and random weights.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from pathlib import Path

import numpy as np
import soundfile
import tiny
import torch
from extractor_files import passt_state, vggish_state
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from soundctm.places import REVISIONS
from tests.soundctm.evaluation.extractors import test_clap, test_openl3

T5 = "google/flan-t5-large"
WORDS = ("<pad>", "</s>", "<unk>", "a", "dog", "barking", "rain", "bell", "in", "the")
OWN = ("dog_barking", "a_bell", "rain", "old_door", "footsteps")
RATE = 16000


def tone(label: str, take: int, seconds: float) -> np.ndarray:
    """A sound of its label, a little different in every take."""
    rng = np.random.default_rng([zlib.crc32(label.encode()), take])
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = 200 + zlib.crc32(label.encode()) % 3000
    return 0.3 * np.sin(2 * np.pi * pitch * time) * np.exp(-2 * time) + 0.02 * rng.standard_normal(len(time))


def write_corpus(root: Path, table: Path) -> None:
    """A built corpus at `root` out of the repository's `table`."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        path = root / row["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        row["seconds"] = min(float(row["seconds"]), 0.5)
        soundfile.write(path, tone(row["label"], number, row["seconds"]), RATE)
    with (root / "corpus.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_own(root: Path) -> None:
    """Below `root`, the files and folders that commands of the docs name as the reader's."""
    for number, folder in enumerate(("real", "made", "REAL", "MADE", "audiocaps/test", "SOUNDS", "AUDIO")):
        (root / folder).mkdir(parents=True)
        for take in range(12 if folder not in ("SOUNDS", "AUDIO") else 10):
            name = f"{OWN[take % len(OWN)]}_{take:02d}.wav"
            soundfile.write(root / folder / name, tone(name, number, 1.0), RATE)
    table = "".join(f"{path.name},{path.stem.replace('_', ' ')}\n" for path in sorted((root / "AUDIO").iterdir()))
    for name in ("train.csv", "val.csv", "captions.csv", "clap_test.csv"):
        (root / name).write_text(f"file_name,caption\n{table}")
    for name in ("dog.wav", "rain.wav", "old.wav"):
        soundfile.write(root / name, tone(name, 0, 2.56), RATE)


def write_vggish(folder: Path) -> None:
    """VGGish's published file, at its size."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(vggish_state(), folder / "vggish-10086976.pth")


def write_fetched(root: Path) -> None:
    """Below `root`, what the docs say to fetch for evaluation, and small stand-ins of a codec, a teacher and a T5."""
    place = root / "ckpt" / "extractors"
    write_vggish(place)
    torch.save(passt_state(), place / "passt-s-f128-p16-s10-ap.476-swa.pt")
    test_openl3.write_h5(place / "openl3.h5", test_openl3.layers(64))
    packed = place / "openl3_audio_mel256_env-v0_4_0.h5.gz"
    packed.write_bytes(gzip.compress((place / "openl3.h5").read_bytes(), 1))
    (place / "openl3.h5").unlink()
    for folder in (place / "clap630k", root / "my" / "clap"):
        test_clap.write(folder, False)
    world = tiny.write_world(root / "standin")
    Path(world["codec"]).rename(root / "standin" / "codec")
    tiny.new_networks()[0].save_pretrained(root / "standin" / "teacher")
    write_t5(root / "standin" / "hub")


def write_t5(hub: Path) -> None:
    """A hub's cache at HF_HOME=`hub` that holds a small T5 under the name, and at the revision, of the official one."""
    snapshot = cached(hub, T5)
    torch.manual_seed(0)
    shape = {"d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2, "feed_forward_proj": "gated-gelu"}
    T5EncoderModel(T5Config(vocab_size=len(WORDS), d_model=384, **shape)).save_pretrained(snapshot)
    write_tokenizer(snapshot)


def cached(hub: Path, name: str) -> Path:
    """Where a hub's cache at HF_HOME=`hub` has the files of a repository."""
    revision = REVISIONS.get(name, "0" * 40)
    place = hub / "hub" / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True, exist_ok=True)
    (place / "refs" / "main").write_text(revision)
    return place / "snapshots" / revision


def write_tokenizer(folder: Path, words: tuple[str, ...] = WORDS) -> None:
    """A tokenizer of a few words."""
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", words.index("</s>"))]
    )
    PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)
