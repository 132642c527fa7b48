"""`pipe.compile()`: the parts of a pipeline as CUDA graphs, and their blocks compiled on request.

    graphs       text encoder, network, VAE decoder and vocoder as CUDA graphs; a new shape costs a second or two
    inductor     the blocks that the network repeats are compiled as well, which fuses what lies between matrix
                 products; on a GPU the graphs hold the compiled blocks. The first call of a shape compiles for a minute

Results are those of the pipeline as it is, up to rounding.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from soundctm.acceleration.graphs import Graphs
from soundctm.acceleration.onednn import use_library
from soundctm.audioldm.library import AutoencoderKL, SpeechT5HifiGan
from soundctm.errors import UserError
from soundctm.text.conditioning import TextConditioning

if TYPE_CHECKING:
    from soundctm.pipeline import SoundCTMPipeline

log = logging.getLogger(__name__)

MODES = ("graphs", "inductor")
TOKENS = 16  # lengths of text are rounded up to a multiple of this, so that few graphs serve all captions
REPEATED = ("BasicTransformerBlock", "ResnetBlock2D", "StableAudioDiTBlock")  # by their classes' names
VARIANTS = 64  # shapes in which one kind of block occurs within a network


@dataclass
class Compiled:
    """What `compile_pipeline` did: `graphs`, the number of blocks compiled, and what it could not do."""

    mode: str
    graphs: Graphs
    blocks: int = 0
    remarks: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> dict[str, float]:
        """Warm-up and recording so far, by part."""
        found: dict[str, float] = {}
        for name, took in self.graphs.seconds:
            found[name] = found.get(name, 0.0) + took
        return found


def compile_pipeline(pipe: SoundCTMPipeline, mode: str = "graphs", graphs: Graphs | None = None) -> Compiled:
    """Compile the parts of `pipe` in place. What a machine cannot do is left out, each with a line in the log.

    `graphs` record with something else than CUDA. Raises UserError for a mode that there is not.
    """
    if mode not in MODES:
        raise UserError(f"there is no way of compiling called {mode!r}; it must be one of {', '.join(MODES)}")
    done = Compiled(mode, graphs or Graphs())
    if mode == "inductor":
        reason = why_not_compiled(pipe.device)
        if reason is None:
            use_library(pipe.network)  # torch's compiler chooses libraries by itself
            done.blocks = compile_blocks(pipe.denoiser)
        else:
            done.remarks.append(f"torch cannot compile here, so the blocks run as they are: {reason}")
    if pipe.device.type == "cuda" or done.graphs.any_device:
        _graph_parts(pipe, done)
    else:
        done.remarks.append(f"CUDA graphs need an NVIDIA GPU; on {pipe.device.type} every part runs as it is")
    for remark in done.remarks:
        log.warning("%s", remark)
    return done


def why_not_compiled(device: torch.device) -> str | None:
    """None where torch can compile for `device`; else why not, as where there is no C++ compiler."""
    try:
        torch.compile(_probe, dynamic=False)(torch.zeros(8, device=device))
    except RuntimeError as error:
        return next(iter(str(error).strip().splitlines()), type(error).__name__)
    return None


def _probe(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1


def compile_blocks(module: nn.Module) -> int:
    """Let torch compile every repeated block of `module` when it is first called; returns their number."""
    blocks = [part for part in module.modules() if type(part).__name__ in REPEATED]
    if blocks:
        import torch._dynamo

        torch._dynamo.config.recompile_limit = max(VARIANTS, torch._dynamo.config.recompile_limit)
    for block in blocks:
        block.compile(dynamic=False)
    return len(blocks)


def _graph_parts(pipe: SoundCTMPipeline, done: Compiled) -> None:
    graphs, codec, encoder = done.graphs, pipe.codec, pipe.text_encoder
    pipe.denoiser.forward = graphs.of("network", pipe.denoiser.forward, pad_text)
    encoder.encode_ids = graphs.of("text encoder", encoder.encode_ids)
    encoder.length_multiple = TOKENS
    decoders = {"decoder": getattr(codec, "decoder", None)}
    if isinstance(vae := getattr(codec, "vae", None), AutoencoderKL):
        decoders["VAE decoder"] = vae.decoder
    if isinstance(vocoder := getattr(codec, "vocoder", None), SpeechT5HifiGan):
        decoders["vocoder"] = vocoder
    decoders = {name: part for name, part in decoders.items() if part is not None}
    for name, part in decoders.items():
        part.forward = graphs.of(name, part.forward)
    if not decoders:
        done.remarks.append("this codec runs as it is: its inverse STFT waits for the GPU, which no graph can")


def pad_text(value: Any) -> Any:
    """Text padded to a multiple of TOKENS, anything else as it is; masked rows change no result."""
    if type(value) is not TextConditioning or value.hidden.shape[1] == 1:  # one token is cheaper than a multiple
        return value
    missing = -value.hidden.shape[1] % TOKENS
    if not missing:
        return value
    pad = nn.functional.pad
    return dataclasses.replace(value, hidden=pad(value.hidden, (0, 0, 0, missing)), mask=pad(value.mask, (0, missing)))
