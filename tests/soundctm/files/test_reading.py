"""Texts of strangers: what is right is read, what is wrong is one sentence that names the place."""

import json

import pytest

from soundctm.errors import UserError
from soundctm.files.reading import read_json, read_json_lines, read_rows, read_text, read_yaml


def written(folder, content):
    path = folder / "given"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_byte_order_mark_and_windows_line_breaks_are_read(tmp_path):
    path = written(tmp_path, b"\xef\xbb\xbffile_name,caption\r\na.wav,a dog\r\n\r\nb.wav,a cat\r\n")
    columns, rows = read_rows(path, ("file_name", "caption"))
    assert columns == ["file_name", "caption"]
    assert [(row.line, row.cells["file_name"], row.cells["caption"]) for row in rows] == [
        (2, "a.wav", "a dog"),
        (4, "b.wav", "a cat"),
    ]


@pytest.mark.parametrize(
    "line, cells",
    [
        ('a.wav, "x, y"', ["a.wav", "x, y"]),
        (" a.wav,x", [" a.wav", "x"]),  # Clotho has such names
        (' a.wav, "x, y"', [" a.wav", "x, y"]),
        ('"a, b.wav",x', ["a, b.wav", "x"]),
        ('a.wav,"he said ""no"""', ["a.wav", 'he said "no"']),
        ('a.wav,a 3" nail', ["a.wav", 'a 3" nail']),
    ],
)
def test_cells(tmp_path, line, cells):
    _, (row,) = read_rows(written(tmp_path, f"file_name,caption\n{line}\n"))
    assert list(row.cells.values()) == cells


@pytest.mark.parametrize(
    "table, said",
    [
        ("file_name,caption\na.wav,a dog barks, then howls\n", "line 2 has 3 cells"),
        ("file_name,caption\na.wav\n", "line 2 has 1 cells"),
        ('file_name,caption\na.wav,"a dog\nb.wav,a cat\n', "line 2: a quote is opened and not closed"),
        ("file_name,caption,caption\na,b,c\n", "'caption' stands twice"),
        ("name,caption\na,b\n", "no column 'file_name'"),
        ("file_name,caption\n", "no rows"),
        ("", "is empty"),
        ("file_name,caption\na.wav," + "x" * 70000, "more than 65536 characters"),
        ("file_name,caption\na\0.wav,x\n", "NUL"),
        (b"file_name,caption\na.wav,caf\xe9\n", "line 2: it is not UTF-8"),
    ],
)
def test_wrong_tables(tmp_path, table, said):
    with pytest.raises(UserError, match=said):
        read_rows(written(tmp_path, table), ("file_name", "caption"))


@pytest.mark.parametrize(
    "text, said",
    [
        ("[" * 100000, "nested"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ("[1]", "must hold `key: value` pairs"),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
        ("{", "not valid JSON"),
        ('{"a": ["\\ud800"]}', "half a character"),
        ('{"a":' * 60 + "1" + "}" * 60, "nested more than 50 deep"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
    ],
)
def test_wrong_json(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        read_json(written(tmp_path, text))


@pytest.mark.parametrize(
    "text, said",
    [
        ("a: [" * 5000, "nested more than 50 deep"),
        ("a: &x [1]\nb: *x\n", "aliases are not read"),
        ("a: 1\na: 2\n", "a key stands twice"),
        ("a: !!python/object/apply:os.system [id]\n", "could not determine a constructor"),
        ("- 1", "must hold"),
        (b"prompt: [caf\xe9]", "not UTF-8"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ("a: 2001-99-99", "not valid YAML"),
        ("a: !!bool maybe", "not valid YAML"),
        ("a: !!timestamp x", "not valid YAML"),
        ("? [a]\n: 1", "not valid YAML"),
        ("a: \0", "not valid YAML"),
        ('a: "\\udfff"', "half a character"),
    ],
)
def test_wrong_yaml(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        read_yaml(written(tmp_path, text))


def test_right_values(tmp_path):
    assert read_yaml(written(tmp_path, "a: {b: [1, 2.5, x]}\n")) == {"a": {"b": [1, 2.5, "x"]}}
    assert read_yaml(written(tmp_path, "")) == {}
    assert read_json(written(tmp_path, '{"a": "\\ud83d\\ude00", "b": "\\\\ud800"}')) == {"a": "😀", "b": "\\ud800"}
    assert read_json(written(tmp_path, json.dumps({"a": [1, {"b": None}]}))) == {"a": [1, {"b": None}]}
    assert list(read_json_lines(written(tmp_path, '{"a": 1}\n\n{"a": 2}\n'))) == [(1, {"a": 1}), (3, {"a": 2})]


def test_lines_name_their_number(tmp_path):
    with pytest.raises(UserError, match="line 2 must hold"):
        list(read_json_lines(written(tmp_path, '{"a": 1}\n5\n')))


def test_devices_folders_and_long_files_are_refused(tmp_path):
    for path, said in (("/dev/zero", "no plain file"), (tmp_path, "a folder"), (tmp_path / "none", "no file")):
        with pytest.raises(UserError, match=said):
            read_text(path)
    with pytest.raises(UserError, match="longer than 10 bytes"):
        read_text(written(tmp_path, "x" * 11), limit=10)
