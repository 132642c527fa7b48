"""CLAP: embeddings of sounds and captions in one space, for the CLAP score and for distances in its audio space.

transformers' `ClapModel` with its own front end and tokenizer (Wu et al., 2022, arXiv 2211.06687). All embeddings have
length 1; the CLAP score of a clip is the dot product of its embedding and its caption's.

Input: mono at 48 kHz, 10 s. Shorter clips are repeated a whole number of times, then zero-padded, as the models were
trained. Longer clips are read in windows (`patches.windows`) whose embeddings are averaged and scaled to length 1
again; transformers' front end would crop them at random. Models with feature fusion see every window as a short clip;
the front end would mark a random one of a batch as long. Captions are cut at 77 tokens, as in training.

Two sets of weights have names of their own, because their scores are different numbers: `clap` and `clap630k`, the
model without feature fusion of the official 44.1 kHz evaluation, which hears clips at another level (`registry`).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, AutoTokenizer, ClapFeatureExtractor, ClapModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from soundctm.checkpoints.limits import check_config
from soundctm.checkpoints.torch_files import listing
from soundctm.checkpoints.weight_files import read_weights
from soundctm.errors import UserError
from soundctm.evaluation.extractors.patches import PatchExtractor, windows
from soundctm.evaluation.extractors.weights import CLAP630K_FOLDER, CLAP_FOLDER, is_hub_id, sha256
from soundctm.files.reading import read_json
from soundctm.places import REVISIONS
from soundctm.text.sources import UNUSABLE

log = logging.getLogger(__name__)

MOST_TOKENS = 77
TEXT_BATCH = 64  # captions
WEIGHTS = ("*.safetensors", "*.bin")  # the first kind that a repository has is used
SETTINGS = ("*.json", "*.txt")
DERIVED = ("position_ids", "token_type_ids", "relative_position_index")  # counters: made by the model, in some files


@dataclass(frozen=True)
class Release:
    """One set of weights: its default place, the hub id to fetch, whether a model with feature fusion will do."""

    folder: Path
    recommended: str
    fusion: bool


RELEASES = {
    "clap": Release(CLAP_FOLDER, "laion/larger_clap_general", True),
    "clap630k": Release(CLAP630K_FOLDER, "laion/clap-htsat-unfused", False),
}


class ClapExtractor(PatchExtractor):
    """An `Extractor` that also embeds captions."""

    def __init__(
        self,
        model: ClapModel,
        front_end: ClapFeatureExtractor,
        tokenizer: PreTrainedTokenizerBase,
        weights_hash: str,
        device: str | torch.device = "cpu",
        name: str = "clap",
    ):
        self.model, self.front_end, self.tokenizer = model.eval().to(device), front_end, tokenizer
        frames = front_end.nb_max_samples // front_end.hop_length + 1
        super().__init__(
            name=name,
            sampling_rate=front_end.sampling_rate,
            dim=model.config.projection_dim,
            class_names=None,
            weights_hash=weights_hash,
            cut=self._spectrograms,
            network=self._embed,
            device=device,
            batch_elements=16 * frames * front_end.feature_size,
            summarise=lambda embeddings: F.normalize(embeddings.mean(0, keepdim=True), dim=-1),
        )

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings of captions, float32 [len(texts), dim] of length 1, on the CPU."""
        rows = []
        for start in range(0, len(texts), TEXT_BATCH):
            batch = list(texts[start : start + TEXT_BATCH])
            tokens = self.tokenizer(
                batch, padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="pt"
            ).to(self.device)
            embeddings = self.model.get_text_features(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            )
            rows.append(_unit(embeddings).float().cpu())
        return torch.cat(rows) if rows else torch.zeros(0, self.dim)

    def _spectrograms(self, waveform: Tensor) -> Tensor:
        """Log-mels [P, 1 or 4, frames, mels] of a waveform [n]."""
        front_end = self.front_end
        parts = [part.cpu().numpy() for part in windows(waveform, front_end.nb_max_samples)]
        features = front_end(parts, sampling_rate=front_end.sampling_rate, return_tensors="np")["input_features"]
        return torch.from_numpy(np.asarray(features, dtype=np.float32)).to(self.device)

    def _embed(self, spectrograms: Tensor) -> tuple[Tensor, None]:
        longer = torch.zeros(len(spectrograms), 1, dtype=torch.bool, device=self.device)
        return _unit(self.model.get_audio_features(input_features=spectrograms, is_longer=longer)), None


def load_clap(weights: str | None = None, device: str | torch.device = "cpu", name: str = "clap") -> ClapExtractor:
    """The extractor of a folder or hub id in transformers' layout; by default the folder ckpt/extractors/`name`.

    Raises UserError when it is absent, cannot be read, its weights do not fit its configuration, or it has feature
    fusion and `name` stands for a model without.
    """
    files = weights_files(weights, name)
    folder = files[0].parent
    try:
        with _quiet():
            check_config(read_json(folder / "config.json"), folder / "config.json")
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            if config.model_type != "clap":
                raise UserError(f"{folder} is a folder of a {config.model_type} model, not of clap")
            if config.audio_config.enable_fusion and not RELEASES[name].fusion:
                raise UserError(f"{folder} holds a CLAP model with feature fusion; {name} is one without")
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            front_end = ClapFeatureExtractor.from_pretrained(folder, local_files_only=True)
            # the tensors, because the library would take what is packed in a compressed torch file for weights
            packed = files[0].suffix == ".bin" and {"state_dict": read_weights(folder)}
            model, report = ClapModel.from_pretrained(
                None if packed else folder,
                **(packed or {}),
                config=config,
                local_files_only=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they come back in the report
            )
    except UserError:
        raise
    except UNUSABLE as error:
        log.debug("reading CLAP from %s failed", folder, exc_info=error)
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
        raise UserError(f"{folder} holds no CLAP model that transformers can read: {reason}") from error
    _check(report, folder)
    return ClapExtractor(model, front_end, tokenizer, sha256(files), device, name)


def weights_files(weights: str | None = None, name: str = "clap") -> list[Path]:
    """The files that decide all embeddings: the weights, then the settings. Raises UserError as `load_clap`."""
    folder = _folder(weights, name)
    files = next((found for kind in WEIGHTS if (found := sorted(folder.glob(kind)))), None)
    if files is None:
        raise UserError(_advice(f"{folder} holds no weights of {name} (model.safetensors)", name))
    return files + sorted(path for kind in SETTINGS for path in folder.glob(kind))


def _check(report: dict, folder: Path) -> None:
    """Raises UserError when keys are missing (transformers would fill in random numbers), extra or misshapen."""
    missing, extra = (
        [key for key in report[kind] if not key.endswith(DERIVED)] for kind in ("missing_keys", "unexpected_keys")
    )
    misshapen = [key for key, *_ in report["mismatched_keys"]]
    kinds = {"missing": missing, "not expected": extra, "of another shape": misshapen}
    faults = [
        f"{len(keys)} {'key' if len(keys) == 1 else 'keys'} {what} ({listing(sorted(keys))})"
        for what, keys in kinds.items()
        if keys
    ]
    if faults:
        raise UserError(f"the weights in {folder} do not fit its config.json: {'; '.join(faults)}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bar and its report of what did not fit, which `_check` turns into one sentence."""
    shown, verbosity = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if shown:
            transformers_logging.enable_progress_bar()


def _folder(weights: str | None, name: str) -> Path:
    """The folder that `weights` names, fetched if it is a hub id. Raises UserError."""
    path = RELEASES[name].folder if weights is None else Path(weights)
    if path.is_dir():
        return path
    if weights is None or path.exists() or not is_hub_id(weights) or weights.count("/") != 1:
        raise UserError(_advice(f"{name} has no folder of weights at {path}", name))
    from huggingface_hub import snapshot_download  # only hub ids need it

    try:
        for kind in WEIGHTS:
            folder = Path(snapshot_download(weights, revision=REVISIONS.get(weights), allow_patterns=[*SETTINGS, kind]))
            if list(folder.glob(kind)):
                return folder
    except (OSError, ValueError) as error:
        log.debug("snapshot_download failed for %s", weights, exc_info=error)
        raise UserError(_advice(f"{weights} is neither in the local hub cache nor can it be fetched", name)) from error
    raise UserError(_advice(f"{weights} holds no weights", name))


def _advice(fault: str, name: str) -> str:
    release = RELEASES[name]
    return (
        f"{fault}: fetch the files of {release.recommended} (a hub id of transformers) into {release.folder}, "
        f"or name a folder or hub id with --weights {name}=PATH"
    )


def _unit(output: object) -> Tensor:
    """The embeddings in what transformers returns (a tensor before version 5), scaled to length 1."""
    return F.normalize(getattr(output, "pooler_output", output), dim=-1)
