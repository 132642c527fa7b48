"""The listening page of a tiny checkpoint: every player and thumbnail, and the sheet of steps."""

import csv
import html
import io
import logging
import re

import numpy as np
import pytest
import soundfile
from html_pages import Parsed
from PIL import Image
from script_runs import ROOT
from tiny import SECONDS

from soundctm.evaluation.models import listen
from soundctm.evaluation.pages import document

CAPTIONS = "file_name,caption\na.wav,rain & <script>alert(1)</script>\nb.wav,wind\n"


@pytest.fixture
def command(tmp_path, tiny_checkpoint):
    (tmp_path / "captions.csv").write_text(CAPTIONS)

    def run(*more, checkpoint=tiny_checkpoint):
        given = {
            "checkpoint": checkpoint, "captions": tmp_path / "captions.csv", "output": tmp_path / "page.html",
            "work_dir": tmp_path / "work", "device": "cpu",
        }  # fmt: skip
        flags = [text for name, value in given.items() for text in (f"--{name}", str(value))]
        return listen.main([*flags, *more])

    return run


def test_every_caption_has_a_player_and_a_picture_per_column(command, tmp_path):
    sheet = ("--steps_sheet", str(tmp_path / "sheet.png"), "--sheet_steps", "1", "2")
    assert command("--steps", "1", "2", "--teacher_steps", "3", *sheet) == 0
    page = Parsed((tmp_path / "page.html").read_text())
    page.assert_self_contained()
    assert page.text.count("rain & <script>alert(1)</script>") == 1
    folders = ["ema_deterministic_1_omega3.5", "ema_deterministic_2_omega3.5", "teacher_heun_3_omega3.5"]
    sounds = page.sounds()
    assert len(sounds) == 6 == len(page.pictures())
    for k, (audio, rate) in enumerate(sounds):
        wav, _ = soundfile.read(tmp_path / "work" / folders[k % 3] / f"{'ab'[k // 3]}.wav")
        assert rate == 16000 and audio.shape == wav.shape == (round(16000 * SECONDS),)
        assert np.corrcoef(audio, wav)[0, 1] > 0.5, "another clip than the title says"
    image = np.asarray(Image.open(io.BytesIO((tmp_path / "sheet.png").read_bytes())).convert("L"))
    assert image.shape[0] > 300 and image.std() > 10


def test_a_checkpoint_without_teacher_has_fewer_columns(command, tmp_path, student_checkpoint, caplog):
    with caplog.at_level(logging.INFO):
        assert command("--steps", "1", checkpoint=student_checkpoint) == 0
    assert "holds no teacher" in caplog.text
    assert len(Parsed((tmp_path / "page.html").read_text()).of("audio")) == 2


@pytest.mark.parametrize(
    "flags, message",
    [(("--steps", "0"), "num_steps"), (("--captions", "nowhere.csv"), "nowhere"), (("--steps", "x"), "x")],
)
def test_bad_input_is_one_line(command, capsys, flags, message):
    assert command(*flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_the_captions_that_come_along_are_partly_new_to_the_model():
    with open(ROOT / "data" / "listen_captions.csv", newline="") as file:
        captions = [row["caption"] for row in csv.DictReader(file)]
    known = (ROOT / "data" / "captions.yaml").read_text() + (ROOT / "data" / "corpus.csv").read_text()
    new = [caption for caption in captions if any(word not in known for word in caption.split())]
    assert 10 <= len(captions) <= 16 and 3 <= len(new) <= len(captions) // 2


def test_the_page_that_comes_along_is_laid_out_as_pages_are_now():
    """Its sounds and texts, laid out again, give the same file: it has today's style and one row per caption."""
    page = (ROOT / "docs" / "listen.html").read_text()
    start, end = page.index("<table>"), page.index("</table>\n") + len("</table>\n")
    head, *rows = (
        [document.Html(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in re.findall(r"<tr>(.*?)</tr>", page[start:end])
    )
    intro = document.Html(page[page.index("</h1>\n") + len("</h1>\n") : start])
    title = html.unescape(re.search("<h1>(.*)</h1>", page)[1])
    assert page == document.page(title, intro, document.table(head, rows, row_headings=True))
    with open(ROOT / "data" / "listen_captions.csv", newline="") as file:
        assert [html.unescape(row[0]) for row in rows] == [row["caption"] for row in csv.DictReader(file)]
    assert all("<img" in cell and "<audio" in cell for row in rows for cell in row[1:])
