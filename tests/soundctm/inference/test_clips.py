"""Names that stay inside the folder and never collide; seeds that belong to the clip."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundctm.inference.clips import plan_clips, safe_stem
from soundctm.inference.prompts import Prompt

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def names(*prompts, num_samples=1):
    return [clip.name for clip in plan_clips(prompts, 0, num_samples)]


def test_reference_names_are_kept_as_they_are():
    for stem in ("Y-abc_", "_x 1", "--5OkAjCI7g", "Übung (2)", "v1.5"):
        assert safe_stem(f"{stem}.wav", True) == stem


def test_caption_names_are_words():
    assert safe_stem("A dog barks, then: rain!", False) == "A_dog_barks_then_rain"


@pytest.mark.parametrize("hostile", ["../../x.wav", "/etc/x.wav", "..\\..\\x.wav", "a/../x.wav", "C:\\x.wav", "./x"])
def test_paths_are_reduced_to_their_last_part(hostile):
    assert names(Prompt("rain", hostile)) == ["x"]


@pytest.mark.parametrize("empty", ["..", "/", "...", ".wav", "\\", "?/.."])
def test_no_name_is_empty_or_hidden(empty):
    (name,) = names(Prompt("rain", empty))
    assert name and not name.startswith(".")


@given(st.lists(st.tuples(TEXT, TEXT | st.none()), max_size=6), st.integers(1, 3))
def test_any_list_gives_distinct_names_inside_the_folder(rows, num_samples):
    prompts = [Prompt(caption, file_name) for caption, file_name in rows]
    clips = plan_clips(prompts, 0, num_samples)
    assert len(clips) == len(prompts) * num_samples
    assert len({clip.name.casefold() for clip in clips}) == len(clips)
    for clip in clips:
        for part in clip.name.split("/"):
            assert part and not part.startswith(".") and part == part.strip() and len(part.encode()) < 200
        assert "\\" not in clip.name and clip.name.isprintable() and not Path(clip.name).is_absolute()


def test_equal_names_lose_no_clip():
    got = names(Prompt("rain", "x.wav"), Prompt("wind", "/s/x.wav"), Prompt("wind", "/s/x.wav"), Prompt("hail", "X"))
    assert len({name.casefold() for name in got}) == 4 and got[0] == "x"


def test_folders_are_kept():
    got = names(Prompt("rain", "birds/a.wav"), Prompt("rain", "cats\\a.wav"), Prompt("rain", "./cats/b.wav"))
    assert got == ["birds/a", "cats/a", "cats/b"]
    assert names(Prompt("rain", " a.wav"), Prompt("rain", "u\u0308.wav")) == ["a", "\u00fc"]


def test_further_captions_of_a_file_do_not_depend_on_the_prefix():
    rows = [("rain", "x.wav"), ("drops of rain", "x.wav")]
    plain = names(*(Prompt(caption, name) for caption, name in rows))
    assert names(*(Prompt(f"a recording of {caption}", name, caption) for caption, name in rows)) == plain
    assert plain[0] == "x" and plain[1].startswith("x-")


def test_numbered_samples_do_not_collide_with_a_name_that_looks_alike():
    got = names(Prompt("rain", "x_1"), Prompt("wind", "x"), Prompt("hail", "x_1"), num_samples=2)
    assert got[:4] == ["x_1_0", "x_1_1", "x_0", "x_1"] and len(set(got)) == 6


def test_a_seed_depends_on_nothing_but_the_clip():
    alone = plan_clips([Prompt("rain", "a.wav")], 7, 1)[0]
    among = plan_clips([Prompt("wind"), Prompt("rain", "a.wav")], 7, 2)
    assert among[2].seed == alone.seed
    assert len({clip.seed for clip in among}) == 4
    assert plan_clips([Prompt("rain", "a.wav")], 8, 1)[0].seed != alone.seed
    assert all(0 <= clip.seed < 2**63 for clip in among)
