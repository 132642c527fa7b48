"""One caption reader: training, inference, evaluation and --validate_data read and refuse the same."""

from __future__ import annotations

import os
import unicodedata

import numpy as np
import pytest
import soundfile

import ctm_train
from soundctm.data.dataset import read_captioned_files
from soundctm.data.names import find_file, forms, normal, shown
from soundctm.data.tables import CaptionRow, read_captions
from soundctm.errors import UserError
from soundctm.evaluation.folders.evaluate import _captions
from soundctm.evaluation.models.class_accuracy import _read_prompts
from soundctm.inference.prompts import read_prompts


def write(tmp_path, text, name="list.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        'file_name,caption\na.wav,"rain, then hail"\n b.wav,wind\n',
        'file_name,caption\r\na.wav, "rain, then hail"\r\n b.wav,wind\r\n',
        '\ufefffile_name,caption\n"a.wav","rain,  then hail"\n\n b.wav, wind',
        'id,caption,file_name\n1, "rain, then hail",a.wav\n2,wind, b.wav\n',
    ],
)
def test_all_read_the_same(tmp_path, text):
    table = write(tmp_path, text)
    rows = [(row.file_name, row.caption) for row in read_captions(table)]
    assert rows == [("a.wav", "rain, then hail"), (" b.wav", "wind")]
    assert [(p.file_name, p.caption) for p in read_prompts(table)] == rows
    assert [(p.file_name, p.caption) for p in _captions(str(table))] == rows
    files = read_captioned_files(table, must_exist=False)
    assert [(os.path.basename(f.path), f.caption) for f in files] == rows


BAD = [
    ("file_name,caption\na.wav,a dog barks, then howls\n", "line 2 has 3 cells"),
    ('file_name,caption\na.wav,"a dog\nb.wav,rain\nc.wav,wind"\n', "line 2: a quote is opened and not closed"),
    ('file_name,caption\na.wav,rain\nb.wav,"a dog\n', "line 3: a quote is opened and not closed"),
    ("file_name,caption,caption\na.wav,rain,wind\n", "the column 'caption' stands twice"),
    ("file_name,caption\na.wav,rain\nb.wav, \n", "line 3: the caption is empty"),
    (b"file_name,caption\na.wav,caf\xe9\n", "line 2: it is not UTF-8"),
    ("file_name,caption\na.wav,rain\nb.wav," + "x" * 20_000 + "\n", "line 3: a caption of 20000 characters"),
]


@pytest.mark.parametrize(("text", "says"), BAD)
def test_all_refuse_the_same(tmp_path, text, says, capsys):
    table = write(tmp_path, text)
    for read in (read_captions, read_prompts, read_captioned_files, lambda path: _captions(str(path))):
        with pytest.raises(UserError, match=says):
            read(table)
    arguments = ["teacher", "--validate_data", "--train_file", str(table), "--output_dir", str(tmp_path / "run")]
    assert ctm_train.main(arguments) == 2
    assert says in capsys.readouterr().err


def test_texts_have_a_caption_a_line(tmp_path):
    table = write(tmp_path, "\ufeffrain, hail\r\n\r\n  wind \r\n", "list.txt")
    assert read_captions(table) == [CaptionRow(1, "rain, hail"), CaptionRow(3, "wind")]
    with pytest.raises(UserError, match="holds no captions"):
        read_captions(write(tmp_path, " \n", "empty.txt"))


def test_the_classes_of_prompts_are_read_by_it_too(tmp_path):
    table = write(tmp_path, 'file_name,caption,label\nx.wav, "a dog, barking",dog\n')
    assert [row["label"] for row in _read_prompts(table)] == ["dog"]
    with pytest.raises(UserError, match="line 2: the label is empty"):
        _read_prompts(write(tmp_path, "file_name,caption,label\nx.wav,a dog,\n"))


def test_files_are_found_as_written_first_and_then_in_other_spellings(tmp_path):
    composed = unicodedata.normalize("NFC", "Übung.wav")
    decomposed = unicodedata.normalize("NFD", composed)
    names = [" lead.wav", composed, "sub/a.wav", "birds/b.wav", "plain.wav"]
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, 0.1 * np.sin(np.arange(2000) / (2 + number)), 16_000)
    rows = [" lead.wav", decomposed, "sub\\a.wav", "birds/b.wav", "  plain.wav"]
    table = write(tmp_path, "file_name,caption\n" + "".join(f"{name},x\n" for name in rows))
    found = [file.path.relative_to(tmp_path).as_posix() for file in read_captioned_files(table)]
    assert found == names
    soundfile.write(tmp_path / decomposed, np.zeros(10), 16_000)  # now there is a file of the very name
    assert find_file(tmp_path, decomposed).name == decomposed and find_file(tmp_path, composed).name == composed
    assert find_file(tmp_path, "x" * 400) == tmp_path / ("x" * 400)
    with pytest.raises(UserError, match="1 of 1 sound files"):
        read_captioned_files(write(tmp_path, f"file_name,caption\n{'x' * 400}.wav,x\n"))


def test_spellings():
    assert list(forms("a.wav")) == ["a.wav"]
    assert list(forms(" a\\b")) == [" a\\b", " a/b", "a\\b", "a/b"]
    assert normal(" sub\\u\u0308 ") == "sub/\u00fc"
    assert shown(os.fsdecode(b"caf\xe9")) == "caf\\xe9" and shown("café") == "café"
