"""The codec's interface on a small untrained model: shapes, saving, generators, errors."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import soundctm.audioldm as audioldm
from soundctm.audioldm import AudioLDMCodec, CodecError, LogMel, MelConfig
from soundctm.audioldm.vae import build_vae
from soundctm.audioldm.vocoder import InverseSTFTVocoder, build_hifigan

ROOT = Path(__file__).parents[2]


def small_vocoder(kind: str) -> torch.nn.Module:
    if kind == "istft":
        return InverseSTFTVocoder(channels=16, hidden=24, layers=2)
    return build_hifigan(channels=32, resblock_kernel_sizes=(3,))


def small_codec(kind: str = "istft", **options) -> AudioLDMCodec:
    torch.manual_seed(0)
    vae = build_vae((16, 16, 32), 1, norm_num_groups=8)
    return AudioLDMCodec(vae, small_vocoder(kind), scale_factor=0.5, default_seconds=2.56, **options)


@pytest.mark.parametrize("kind", ["istft", "hifigan"])
def test_round_trip_keeps_the_length(kind):
    codec = small_codec(kind)
    latents = codec.encode(0.1 * torch.randn(2, 40960))
    assert latents.shape == (2, *codec.latent_shape()) == (2, 8, 64, 16)
    waveform = codec.decode(latents)
    assert waveform.shape == (2, 40960) and waveform.dtype == torch.float32
    assert waveform.abs().max() <= 1


def test_latent_shapes():
    codec = small_codec()
    assert codec.frames_per_latent == 4 and codec.sampling_rate == 16000
    assert codec.latent_shape(10.24) == (8, 256, 16)
    with pytest.raises(CodecError, match="too short"):
        codec.latent_shape(0.001)


@pytest.mark.parametrize("kind", ["istft", "hifigan"])
def test_saved_in_half_precision_and_read_again(tmp_path, kind):
    codec = small_codec(kind, mel=LogMel(MelConfig(clamp=2e-5)))
    codec.save_pretrained(tmp_path, torch.float16)
    assert codec.dtype == torch.float32  # saving changed nothing in memory
    again = AudioLDMCodec.from_pretrained(tmp_path)
    assert again.dtype == torch.float32 and type(again.vocoder) is type(codec.vocoder)
    assert (again.scale_factor, again.default_seconds, again.mel.config) == (0.5, 2.56, codec.mel.config)
    for ours, theirs in zip(codec.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours.half().float(), theirs)
    again.save_pretrained(tmp_path / "twice", torch.float16)
    for name in ("vae", "vocoder"):
        first, second = (next((p / name).glob("*.safetensors")) for p in (tmp_path, tmp_path / "twice"))
        assert first.read_bytes() == second.read_bytes()


def test_the_posterior_is_sampled_per_row_whatever_the_batch():
    codec = small_codec()
    waveform = 0.1 * torch.randn(3, 5120, generator=torch.Generator().manual_seed(1))
    batch = codec.encode(waveform, [torch.Generator().manual_seed(s) for s in (5, 6, 7)])
    alone = codec.encode(waveform[1:2], [torch.Generator().manual_seed(6)])
    torch.testing.assert_close(batch[1:2], alone, rtol=1e-4, atol=1e-5)
    mean = codec.encode(waveform, sample_posterior=False)
    assert torch.equal(mean, codec.encode(waveform, sample_posterior=False))
    assert not torch.allclose(mean, batch)


def test_a_clip_beyond_full_scale_is_turned_down_and_not_cut_off():
    codec = small_codec()
    loud = 3 * torch.sin(torch.arange(5120) * torch.tensor([[0.1], [0.2]])) * torch.tensor([[1.0], [0.1]])
    codec.vocoder = torch.nn.Module()
    codec.vocoder.forward = lambda mel: loud.clone()
    waveform = codec.mel_to_waveform(torch.zeros(2, 1, 32, 64))
    torch.testing.assert_close(waveform[0], loud[0] / loud[0].abs().max())
    torch.testing.assert_close(waveform[1], loud[1])  # within full scale: as it is


def test_made_clips_have_neither_offset_nor_rumble_nor_full_scale_where_the_codec_says_so(tmp_path):
    codec = small_codec(highpass=30.0, peak=0.89)
    time = torch.arange(16000) / 16000
    tone, rumble = torch.sin(2 * torch.pi * 440 * time), 0.4 + 0.5 * torch.sin(2 * torch.pi * 6 * time)
    codec.vocoder.forward = lambda mel: torch.stack([0.2 * tone + rumble, 1.5 * tone + rumble])
    made = codec.mel_to_waveform(torch.zeros(2, 1, 100, 64))
    inner = slice(2000, -2000)
    torch.testing.assert_close(made[0, inner], 0.2 * tone[inner], rtol=0, atol=2e-3)
    assert made.mean(1).abs().max() < 1e-3 and made[1].abs().max() == pytest.approx(0.89)
    codec.save_pretrained(tmp_path)
    again = AudioLDMCodec.from_pretrained(tmp_path)
    assert (again.highpass, again.peak) == (30.0, 0.89)
    config = json.loads((tmp_path / "config.json").read_text())
    for name, value in (("highpass", 5000), ("peak", 0)):
        (tmp_path / "config.json").write_text(json.dumps(config | {name: value}))
        with pytest.raises(CodecError, match=f"{name} is {value}"):
            AudioLDMCodec.from_pretrained(tmp_path)
    for name in ("highpass", "peak"):
        config.pop(name)  # of an older folder: as the official codec
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert AudioLDMCodec.from_pretrained(tmp_path).highpass == 0 and AudioLDMCodec.from_pretrained(tmp_path).peak == 1


def test_decoding_is_the_same_alone_and_in_a_batch():
    codec = small_codec()
    latents = torch.randn(4, 8, 16, 16, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(codec.decode(latents)[2:3], codec.decode(latents[2:3]), rtol=1e-4, atol=1e-5)


def test_a_codec_without_vocoder_is_kept_and_says_so(tmp_path):
    codec = small_codec()
    codec.vocoder = None
    codec.save_pretrained(tmp_path)
    again = AudioLDMCodec.from_pretrained(tmp_path)
    assert again.decode_mel(torch.randn(1, 8, 4, 16)).shape == (1, 1, 16, 64)
    with pytest.raises(CodecError, match="no vocoder"):
        again.decode(torch.randn(1, 8, 4, 16))


def test_wrong_shapes_are_named():
    codec = small_codec()
    with pytest.raises(CodecError, match=r"\[B, 8, frames, 16\], not \(1, 4, 8, 16\)"):
        codec.decode(torch.zeros(1, 4, 8, 16))
    with pytest.raises(CodecError, match=r"not \(1, 1, 3, 64\)"):
        codec.encode_mel(torch.zeros(1, 1, 3, 64))
    with pytest.raises(CodecError, match="2 generators for a batch of 1"):
        codec.encode(torch.zeros(1, 5120), [torch.Generator(), torch.Generator()])


def test_folders_that_are_no_codec(tmp_path):
    with pytest.raises(CodecError, match="not a codec folder"):
        AudioLDMCodec.from_pretrained(tmp_path / "nowhere")
    small_codec().save_pretrained(tmp_path)
    vocoder = tmp_path / "vocoder" / "config.json"
    vocoder.write_text(json.dumps(json.loads(vocoder.read_text()) | {"_class_name": "os.system"}))
    with pytest.raises(CodecError, match="names the vocoder os.system"):
        AudioLDMCodec.from_pretrained(tmp_path)


def change_config(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(("part", "values", "said"), [
    ("vocoder", {"layers": 10**9}, "`layers` is 1000000000; it must be a whole number from 0 to 256"),
    ("vocoder", {"n_mels": 32}, "lacks, or has of another shape"),
    ("vocoder", {"mel_mean": "x"}, "`mel_mean` is 'x'; it must be a number"),
    ("vocoder", {"hop_length": 320}, "the vocoder is for 64 mel bands and 320 samples a frame; the mel has 64 bands"),
    ("vocoder", {"auto_map": {"AutoModel": "x.Y"}}, "code of its own"), (".", {"mel": 5}, "cannot be used"),
    ("vae", {"block_out_channels": [16, "x", 32]}, "must be a whole number from 4"),
    ("vae", {"in_channels": 2}, "lacks, or has of another shape"),
    ("vae", {"layers_per_block": None}, "`layers_per_block`"),
    (".", {"mel": {"n_mels": 62}}, "62 mel bands cannot be cut into patches of 4"),
    (".", {"mel": {"n_mels": 32}}, "the mel has 32 bands"), (".", {"mel": {"n_fft": 1023}}, "must be even"),
])  # fmt: skip
def test_configurations_of_strangers_are_refused_in_one_line(tmp_path, part, values, said):
    small_codec().save_pretrained(tmp_path)
    change_config(tmp_path / part / "config.json", **values)
    with pytest.raises(CodecError) as refused:
        AudioLDMCodec.from_pretrained(tmp_path)
    assert said in str(refused.value) and len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("change", ["nan", "int", "lacking", "cut"])
def test_weights_of_strangers_are_refused(tmp_path, change):
    small_codec().save_pretrained(tmp_path)
    path = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    name = next(iter(state))
    if change == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif change == "lacking":
        save_file({key: value for key, value in state.items() if key != name}, path)
    else:
        save_file(state | {name: state[name].int() if change == "int" else state[name] * float("nan")}, path)
    with pytest.raises(CodecError, match=f"model.safetensors .*{name if change != 'cut' else ''}"):
        AudioLDMCodec.from_pretrained(tmp_path)


def test_the_inverse_stft_vocoder_can_represent_a_waveform():
    """Its synthesis alone: the true STFT frames give back the waveform, the last partial hop included."""
    vocoder = InverseSTFTVocoder(channels=16, hidden=16, layers=1)
    waveform = 0.1 * torch.randn(2, 3200)
    frames = torch.stft(waveform, 640, 160, window=vocoder.window, return_complex=True)[..., :20]
    vocoder.spectrum = lambda mel: frames
    rebuilt = vocoder(torch.zeros(2, 20, 64))
    assert rebuilt.shape == waveform.shape
    torch.testing.assert_close(rebuilt[:, :-480], waveform[:, :-480], rtol=0, atol=1e-5)


def test_refinement_keeps_a_consistent_spectrum_and_mends_an_inconsistent_one():
    waveform = torch.sin(torch.arange(6400) * torch.tensor([[0.2], [0.5]])) * 0.3
    plain, refined = (InverseSTFTVocoder(channels=16, hidden=16, layers=1, refinements=n) for n in (0, 3))
    frames = torch.stft(waveform, 640, 160, window=plain.window, return_complex=True)[..., :40]
    for vocoder in (plain, refined):
        vocoder.spectrum = lambda mel: frames
    mel = torch.zeros(2, 40, 64)
    torch.testing.assert_close(refined(mel)[:, 640:-640], waveform[:, 640:-640], rtol=0, atol=2e-3)

    shaken = frames * torch.exp(0.7j * torch.randn(frames.shape, generator=torch.Generator().manual_seed(0)))
    for vocoder in (plain, refined):
        vocoder.spectrum = lambda mel: shaken

    def error(vocoder):
        rebuilt = torch.stft(vocoder(mel), 640, 160, window=vocoder.window, return_complex=True)[..., 2:38].abs()
        return (rebuilt - frames[..., 2:38].abs()).norm()

    assert error(refined) < 0.8 * error(plain)


def test_the_package_stands_alone():
    sources = list(Path(audioldm.__path__[0]).glob("*.py"))
    assert len(sources) > 5
    texts = {path.name: path.read_text(encoding="utf-8") for path in sources}
    assert not [name for name, text in texts.items() if "import soundctm" in text or "from soundctm" in text]
    absolute = re.compile(r"^\s*(from|import) audioldm\b", re.MULTILINE)  # an installed package has it elsewhere
    others = {str(path): path.read_text(encoding="utf-8") for path in (ROOT / "soundctm").rglob("*.py")}
    assert not [name for name, text in {**texts, **others}.items() if absolute.search(text)]
