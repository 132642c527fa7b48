"""Pages are well-formed, hold everything they show, and take no text for markup."""

import numpy as np
import pytest
from html_pages import Parsed
from hypothesis import given
from hypothesis import strategies as st

from soundctm.errors import UserError
from soundctm.evaluation.pages import document
from soundctm.evaluation.pages.pictures import thumbnail
from soundctm.evaluation.pages.sounds import NamedSound

HOSTILE = '<script>alert("1")</script> & "><img src=x onerror=alert(1)>'


def sine(rate, seconds=0.5, hertz=440.0, name="a.wav"):
    return NamedSound(
        name, (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype("f4"), rate
    )


def test_a_page_holds_its_sounds_and_pictures():
    sound = sine(16000)
    cell = document.joined(document.picture(thumbnail(sound), "a tone", 256), document.player(sound))
    made = document.page("Tones", document.heading("One"), document.table(["name", "clip"], [["a.wav", cell]]))
    parsed = Parsed(made)
    parsed.assert_self_contained()
    assert made.startswith("<!DOCTYPE html>") and "prefers-color-scheme: dark" in made
    [(audio, rate)] = parsed.sounds()
    assert rate == 16000 and audio.shape == sound.audio.shape
    assert np.corrcoef(audio[800:-800], sound.audio[800:-800])[0, 1] > 0.98
    assert [image.size for image in parsed.pictures()] == [(192, 64)]


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_any_sampling_rate_keeps_its_length_and_pitch(rate):
    [(audio, played)] = Parsed(document.page("t", document.player(sine(rate)))).sounds()
    assert len(audio) / played == pytest.approx(0.5, abs=1e-3)
    loudest = np.abs(np.fft.rfft(audio)).argmax() * played / len(audio)
    assert loudest == pytest.approx(440.0, abs=4.0)


def test_hostile_names_are_text_everywhere():
    sound = sine(16000, name=HOSTILE)
    parsed = Parsed(
        document.page(
            HOSTILE,
            document.heading(HOSTILE),
            document.paragraph(HOSTILE),
            document.bullets([HOSTILE]),
            document.table([HOSTILE], [[document.joined(document.faint(HOSTILE), document.player(sound))]]),
            document.picture(thumbnail(sound), HOSTILE),
        )
    )
    parsed.assert_self_contained()
    assert parsed.text.count(HOSTILE) == 7  # title and its heading, heading, paragraph, list, column, cell
    assert parsed.of("img")[0]["alt"] == HOSTILE == parsed.of("audio")[0]["title"]


@given(st.text())
def test_text_comes_out_as_it_went_in(text):
    assert Parsed(document.markup(text)).text == text


def test_a_row_of_the_wrong_width_is_an_error():
    with pytest.raises(ValueError, match="2 cells for 1 columns"):
        document.table(["a"], [["b", "c"]])


def test_a_page_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        document.save_page(tmp_path / "file" / "page.html", "t")
