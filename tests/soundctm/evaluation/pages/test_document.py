"""Pages are well-formed, hold everything they show, take no text for markup, and fit a narrow screen."""

import re

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


def rules(style):
    """{selector: {property: value}} of style rules without the blocks of @media."""
    plain = re.sub(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*\s*\}", "", style)
    found = {}
    for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", plain):
        for selector in selectors.split(","):
            pairs = (pair.split(":", 1) for pair in body.split(";") if ":" in pair)
            found.setdefault(selector.strip(), {}).update({name.strip(): value.strip() for name, value in pairs})
    return found


def narrow_rules():
    [(most, inner)] = re.findall(r"@media \(max-width: (\d+)rem\) \{((?:[^{}]*\{[^{}]*\})*)\s*\}", document.STYLE)
    assert int(most) * 16 >= 600, "a phone held upright or across is narrow"
    return rules(inner)


def test_nothing_is_wider_than_the_screen():
    wide = rules(document.STYLE)
    for chosen in (wide, narrow_rules()):
        for selector, properties in chosen.items():
            assert "min-width" not in properties, selector
            if not properties.get("width", "100%").endswith("%"):
                assert properties["max-width"] == "100%", selector
    assert wide["img"]["max-width"] == "100%" and wide["*"]["box-sizing"] == "border-box"
    assert wide["table"]["overflow-x"] == "auto", "a wide table scrolls, the page does not"
    made = document.page("t", document.picture(thumbnail(sine(16000)), "a tone", 256))
    assert Parsed(made).of("meta")[-1]["content"] == "width=device-width, initial-scale=1"


def test_on_a_narrow_screen_every_cell_is_a_line_of_its_own_below_the_name_of_its_column():
    narrow = narrow_rules()
    assert all(narrow[part]["display"] == "block" for part in ("tbody", "tr", "th", "td"))
    assert narrow["thead"]["display"] == "none" and narrow["td::before"]["content"] == "attr(data-column)"
    columns = ["name", 'one "step" <1>', document.Html("<b>&lt;2&gt;</b> steps")]
    cells = [["a.wav", 1, 2], ["b.wav", 3, 4]]
    for headings, named in ((False, ["name", 'one "step" <1>', "<2> steps"]), (True, ['one "step" <1>', "<2> steps"])):
        parsed = Parsed(document.table(columns, cells, row_headings=headings))
        assert [cell["data-column"] for cell in parsed.of("td")] == 2 * named
        assert len(parsed.of("th")) == 3 + 2 * headings


def test_a_page_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        document.save_page(tmp_path / "file" / "page.html", "t")
