"""What the pipeline gives back: saved, heard and looked at."""

import re

import numpy as np
import pytest
import soundfile
import torch

from soundctm.errors import UserError
from soundctm.pipeline import SoundCTMOutput

WAVES = np.sin(np.outer([0.05, 0.1], np.arange(8000))).astype(np.float32) / 2


def output(count=2, **more):
    return SoundCTMOutput(WAVES[:count], 16000, torch.zeros(count, 8, 4, 16), **more)


def test_one_clip_has_the_name_and_several_are_numbered(tmp_path):
    assert output(1).save(tmp_path / "a.flac", "24") == [tmp_path / "a.flac"]
    assert soundfile.info(tmp_path / "a.flac").subtype == "PCM_24"
    names = output().save(str(tmp_path / "b.wav"))
    assert [name.name for name in names] == ["b.wav", "b_1.wav"]
    for name, wave in zip(names, WAVES, strict=True):
        assert np.abs(soundfile.read(name)[0] - wave).max() < 2**-15
    with pytest.raises(UserError, match="no ending"):
        output().save(tmp_path / "c")


def test_tensors_are_saved_and_latents_are_not(tmp_path):
    tensors = SoundCTMOutput(torch.from_numpy(WAVES), 16000, torch.zeros(2, 8, 4, 16))
    tensors.save(tmp_path / "a.wav")
    assert np.abs(soundfile.read(tmp_path / "a.wav")[0] - WAVES[0]).max() < 2**-15
    latents = SoundCTMOutput(torch.zeros(1, 8, 4, 16), 16000, torch.zeros(1, 8, 4, 16))
    with pytest.raises(UserError, match="latents, not sounds"):
        latents.save(tmp_path / "b.wav")
    assert "<audio" not in latents._repr_html_()


def test_jupyter_shows_players_and_spectrograms():
    page = output(prompts=["a <dog>", "rain"])._repr_html_()
    assert page.count("<audio controls") == page.count("<img") == 2 and "a &lt;dog&gt;" in page and "rain" in page
    assert not re.search(r'src="(?!data:)', page), "nothing is fetched"
    figure = output(prompts=["a dog", "rain"]).spectrogram(1)
    assert figure.axes[0].get_title() == "rain"


def test_finished_clips_are_new_ones():
    made = output(prompts=["a", "b"])
    done = made.finished(fade_out=0.1, loudness=-30.0)
    assert done.audios.shape == WAVES.shape and abs(done.audios[0, -1]) < 1e-4 and (made.audios == WAVES).all()
    late = np.concatenate([np.zeros((2, 4000), np.float32), WAVES], 1)
    trimmed = SoundCTMOutput(late, 16000, made.latents).finished(trim_onset=True)
    assert [len(audio) for audio in trimmed.audios] == [8160, 8160]
    with pytest.raises(UserError, match="fade_in"):
        made.finished(fade_in=-1.0)
