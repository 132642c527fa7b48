"""`ctm_inference.py` with SoundCTM-DiT: a folder and the official files, float wavs at 44.1 kHz, official names."""

from __future__ import annotations

import csv

import official_dit
import pytest
import soundfile
import torch
import yaml
from helpers import close

from soundctm.checkpoints import load_checkpoint, load_official_dit, save_checkpoint
from soundctm.control import MEASURES, Control, Curve, Objective
from soundctm.editing import parse_bands
from soundctm.errors import UserError
from soundctm.inference.model import checkpoint_defaults, checkpoint_files
from soundctm.inference.run import main, parse_options
from soundctm.pipeline import SoundCTMPipeline

SAMPLES, RATE = 442_367, 44_100


class Words:
    """A tokenizer in memory."""

    model_max_length = 512

    def __call__(self, texts, **_):
        return {"input_ids": [[0, *(3 + sum(word.encode()) % 100 for word in text.split()), 2] for text in texts]}

    def save_pretrained(self, folder):
        pass


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A release as its own scripts lay it out, and its folder in our format."""
    root = tmp_path_factory.mktemp("release")
    (root / "models").mkdir()
    (root / "utils" / "gaussiandac").mkdir(parents=True)
    paths = official_dit.write_small(root, whole=False)
    for name, place in (
        ("ema", "models/ac_v2_ema_0999_030000.pt"),
        ("summary", "models/ac_v2_summary.jsonl"),
        ("z_stats", "models/z_stats.pth"),
        ("autoencoder", "utils/gaussiandac/weights.pth"),
    ):
        paths[name] = paths[name].rename(root / place)
    save_checkpoint(root / "folder", load_official_dit(**paths))
    return root


@pytest.fixture(autouse=True)
def words(monkeypatch):
    monkeypatch.setattr("soundctm.text.encoder.load_tokenizer", lambda name: Words())


def short(release, tmp_path):
    """The folder with clips of a few frames: what a test can wait for."""
    parts = load_checkpoint(release / "folder")
    parts.codec.default_seconds = 0.1
    parts.sampling = type(parts.sampling)(omega=5.0, omega_range=(1.0, 10.0))
    return save_checkpoint(tmp_path / "short", parts)


def of_release(release, *more):
    folders = ["--model_ckpt_path", str(release / "models"), "--util_ckpt_path", str(release / "utils")]
    return ["--prompt", "rain", "--variants", "ac_v2", *folders, *more]


def test_a_clip_of_the_official_length(release, tmp_path):
    """The folder's own defaults; float wavs, as the official script writes them."""
    flags = ["--checkpoint", str(release / "folder"), "--device", "cpu", "--output_dir", str(tmp_path)]
    assert main([*flags, "--prompt", "rain on a roof", "--seed", "3"]) == 0
    audio, rate = soundfile.read(tmp_path / "rain_on_a_roof.wav", dtype="float32")
    assert (len(audio), rate) == (SAMPLES, RATE) and soundfile.info(tmp_path / "rain_on_a_roof.wav").subtype == "FLOAT"
    row = next(csv.DictReader((tmp_path / "manifest.csv").open()))
    assert (row["omega"], row["steps"], row["sampler"], row["nu"]) == ("5", "1", "deterministic", "1")
    assert (row["sampling_rate"], row["target_length"], row["weights"]) == ("44100", "10.031", "ema")
    pipe = SoundCTMPipeline.from_pretrained(release / "folder", device="cpu")
    made = pipe("rain on a roof", seed=[int(row["seed"])])
    close(torch.from_numpy(made.audios[0]), torch.from_numpy(audio), 1e-6)
    assert made.latents.shape == (1, 64, 432)


def test_batches_and_any_last_batch_give_the_same_clips(release, tmp_path):
    table = tmp_path / "captions.csv"
    table.write_text("file_name,caption\n" + "".join(f"{n}.wav,{n} bells\n" for n in ("a", "b", "c", "d", "e")))
    folder, clips = short(release, tmp_path), {}
    for size in ("1", "2", "5"):
        out = tmp_path / size
        flags = ["--checkpoint", str(folder), "--device", "cpu", "--output_dir", str(out), "--batch_size", size]
        assert main([*flags, "--test_file", str(table), "--num_steps", "2", "--nu", "1.5", "--cfg", "4"]) == 0
        clips[size] = {path.name: torch.from_numpy(soundfile.read(path)[0]) for path in sorted(out.glob("*.wav"))}
        assert {row["omega"] for row in csv.DictReader((out / "manifest.csv").open())} == {"4"}
    for size in ("2", "5"):
        assert clips[size].keys() == clips["1"].keys() and len(clips[size]) == 5
        for name, clip in clips[size].items():
            assert len(clip) == 4410
            close(clip, clips["1"][name], 2e-4)


def test_the_pipeline_saves_itself_and_changes_its_format(release, tmp_path):
    pipe = SoundCTMPipeline.from_pretrained(short(release, tmp_path), device="cpu")
    pipe.save_pretrained(tmp_path / "again")
    again = SoundCTMPipeline.from_pretrained(tmp_path / "again", device="cpu")
    wanted = pipe("bells", seed=[1]).audios
    assert (again("bells", seed=[1]).audios == wanted).all()
    card = (tmp_path / "again" / "README.md").read_text()
    assert "10.031 s at 44100 Hz" not in card and "0.1 s at 44100 Hz" in card
    half = again.to(torch.bfloat16)
    assert half.codec.dtype == torch.bfloat16 and half.codec.z_std.dtype == torch.float32
    assert half.text_encoder.model.dtype == torch.float32
    error = half("bells", seed=[1]).audios - wanted
    assert 0 < (error**2).mean() < 0.02 * (wanted**2).mean()


def test_sounds_are_edited_and_steered(release, tmp_path):
    """As with the mel codec; what needs mel bands says so."""
    pipe = SoundCTMPipeline.from_pretrained(short(release, tmp_path), device="cpu")
    sound = 0.1 * torch.randn(6000, generator=torch.Generator().manual_seed(0))
    assert pipe.vary("bells", sound, strength=0.5).audios.shape == (1, 6000)
    kept = pipe.inpaint("bells", sound, [(0.05, 0.08)]).audios[0]
    assert (kept[:1000] == sound[:1000].numpy()).all() and (kept[2300:3400] != sound[2300:3400].numpy()).any()
    assert pipe.extend("bells", sound, after=0.05).audios.shape == (1, 8205)
    with pytest.raises(UserError, match="codec has no mel bands"):
        pipe.make_bands("bells", sound, parse_bands("300-1000"))
    objective = Objective(MEASURES["intensity"], Curve(((0.0, -40.0), (0.1, -20.0))))
    free, led = (pipe("bells", 2, seed=[4], control=control).audios for control in (None, Control(objective)))
    errors = [objective.error_of_waveform(torch.from_numpy(audio), RATE).item() for audio in (free, led)]
    assert errors[1] < errors[0]


def test_longer_shorter_resampled(release, tmp_path):
    folder = short(release, tmp_path)
    pipe = SoundCTMPipeline.from_pretrained(folder, device="cpu")
    assert pipe("bells", seconds=0.25).audios.shape == (1, 11025)  # in windows that overlap
    assert pipe("bells", seconds=0.03).audios.shape == (1, 1323)
    flags = ["--checkpoint", str(folder), "--device", "cpu", "--output_dir", str(tmp_path / "out"), "--keep_silent"]
    assert main([*flags, "--prompt", "bells", "--target_length", "0.05", "--sampling_rate", "16000"]) == 0
    audio, rate = soundfile.read(tmp_path / "out" / "bells.wav")
    assert (len(audio), rate) == (800, 16000)


def test_the_official_files_give_the_clips_of_their_folder(release, tmp_path):
    options = parse_options(of_release(release))
    assert options.full_band and options.official
    name, files = checkpoint_files(options)
    assert name.endswith("ac_v2_ema_0999_030000.pt") and len(files) == 4
    defaults = checkpoint_defaults(options)
    assert (defaults.omega, defaults.seconds, defaults.sampling_rate) == (5.0, 10.031, RATE)
    assert defaults.omega_range == (1.0, 10.0)
    from soundctm.inference.model import load_pipeline

    pipe, own = load_pipeline(options, "cpu"), load_checkpoint(release / "folder")
    for read, wanted in ((pipe.network, own.ema), (pipe.codec, own.codec), (pipe.text_encoder, own.text_encoder)):
        assert all(torch.equal(value, wanted.state_dict()[key]) for key, value in read.state_dict().items())


def test_the_official_configuration_file_runs_as_it_is(release, tmp_path):
    """All of its options, under its one heading, with empty texts for what is not given."""
    table = tmp_path / "test.csv"
    table.write_text("file_name,caption\na.wav,rain\n")
    values = {
        "Experiment_name": "", "Project_name": "", "text_encoder_name": "clap", "stage1_path": str(release / "utils"),
        "ctm_unet_model_config": "", "teacher_model": "", "clap_model_path": "ckpt/utils/630k-audioset-best.pt",
        "ema_model": str(release / "models" / "ac_v2_ema_0999_030000.pt"),
        "training_args": str(release / "models" / "ac_v2_summary.jsonl"),
        "diffusion_model_type": "dit", "version": "v2", "nu": 1.0, "omega": 5.0, "num_steps": 1,
        "sampler": "deterministic", "sampling_gamma": 0.0, "output_dir": str(tmp_path / "output"),
        "sampling_rate": 44100, "target_length": 10.031, "prefix": "", "test_file": str(table), "batch_size": 1,
        "num_samples": 1, "text_audio_pair_dataset": True,
        "load_mean_std_state_path": str(release / "models" / "z_stats.pth"),
        "sigma_data": 0.5, "sigma_max": 80.0, "sigma_min": 0.002,
    }  # fmt: skip
    config = tmp_path / "dit.yaml"
    config.write_text(yaml.safe_dump({"Experiment": values}))
    options = parse_options(["--config", str(config), "--num_steps", "2"])
    assert options.full_band and options.num_steps == 2, "the command line comes first"
    assert options.text_encoder_name is None and options.version == "v2"
    assert {remark.split(" has no effect")[0] for remark in options.unused()} == {
        "sigma_data", "sigma_max", "sigma_min", "clap_model_path", "text_audio_pair_dataset",
    }  # fmt: skip
    assert main(["--config", str(config), "--device", "cpu"]) == 0
    info = soundfile.info(tmp_path / "output" / "a.wav")
    assert (info.frames, info.samplerate, info.subtype) == (SAMPLES, RATE, "FLOAT")


def test_what_is_missing_or_of_another_kind_is_said(release, tmp_path):
    ema, other = str(release / "models" / "ac_v2_ema_0999_030000.pt"), str(release / "models" / "ac_v2_summary.jsonl")
    for flags, says in (
        (["--ema_model", ema, "--diffusion_model_type", "dit"], "needs --stage1_path beside its weights"),
        (["--ema_model", ema, "--stage1_path", str(release / "utils")], "needs --load_mean_std_state_path"),
        (["--ema_model", ema, "--stage1_path", str(release / "models")], "holds no gaussiandac/weights.pth"),
        (["--ema_model", ema, "--stage1_path", other, "--load_mean_std_state_path", "no.pth"], "no file no.pth, given"),
        (of_release(release, "--weights", "student"), "--weights student needs --model"),
        (of_release(release, "--diffusion_model_type", "unet"), "but files of SoundCTM-DiT are given"),
        (["--variants", "ac_as_v2", "--model_ckpt_path", str(release / "models")], "holds no ac_as_v2_ema_"),
        (["--variants", "ac_v3"], "must be one of"),
    ):
        with pytest.raises(UserError, match=says):
            parse_options(["--prompt", "rain", *flags])
    from soundctm.inference.model import load_pipeline

    with pytest.raises(UserError, match="version is v1, but these weights are v2"):
        load_pipeline(parse_options(of_release(release, "--version", "v1")), "cpu")
    remarks = parse_options(["--prompt", "rain", "--stage1_path", "x"]).unused()
    assert remarks == ["stage1_path has no effect: it belongs to the official files, and none is given"]
