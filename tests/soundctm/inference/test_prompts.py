"""Caption lists: what is read, and what is refused with which message."""

import pytest

from soundctm.errors import UserError
from soundctm.inference.prompts import Prompt, read_prompts


def write(tmp_path, text, name="list.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_audiocaps_form_with_quotes_spaces_and_a_byte_order_mark(tmp_path):
    path = write(tmp_path, '\ufefffile_name, caption\na.wav, "rain, then thunder"\n\nb.wav,"a bird  sings"\n')
    assert read_prompts(path) == [Prompt("rain, then thunder", "a.wav"), Prompt("a bird sings", "b.wav")]


def test_a_csv_of_captions_alone_and_further_columns(tmp_path):
    assert read_prompts(write(tmp_path, "id,caption\n1,rain\n")) == [Prompt("rain")]


def test_text_has_a_caption_a_line(tmp_path):
    assert read_prompts(write(tmp_path, "rain, hail\n\n wind \n", "list.txt")) == [Prompt("rain, hail"), Prompt("wind")]


def test_prompts_come_before_the_file_and_the_prefix_before_all(tmp_path):
    path = write(tmp_path, "caption\nrain\n")
    got = read_prompts(path, ["wind"], prefix="the sound of ")
    assert [p.caption for p in got] == ["the sound of wind", "the sound of rain"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("caption\n", "no rows"),
        ("file_name,text\na.wav,rain\n", "no column 'caption'; its first line names file_name, text"),
        ("file_name,caption\na.wav,\n", "line 2: the caption is empty"),
        ("file_name,caption\na.wav\n", "line 2 has 1 cells where the first line names 2"),
        ("file_name,caption\na.wav,rain, then hail\n", "line 2 has 3 cells where the first line names 2"),
        (b"caption\n\xff\xfe\n", "is not UTF-8"),
        ("caption\n" + "x" * 20_000, "20000 characters"),
        ('caption\n"' + "x" * 200_000, "more than 65536 characters"),
    ],
)
def test_bad_files_give_one_clear_line(tmp_path, text, says):
    with pytest.raises(UserError, match=says) as caught:
        read_prompts(write(tmp_path, text))
    assert "list.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_absent_file_folder_and_empty_prompt(tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        read_prompts(tmp_path / "none.csv")
    with pytest.raises(UserError, match="is a folder"):
        read_prompts(tmp_path)
    with pytest.raises(UserError, match="--prompt is empty"):
        read_prompts(None, ["rain", " "])
