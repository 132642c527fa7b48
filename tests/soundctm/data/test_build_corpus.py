"""The corpus builder on a tiny Debian package made here, and the archive formats that games use."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import struct
import subprocess
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundctm.data import build_corpus
from soundctm.data.corpus import DATA_FOLDER, load_corpus
from soundctm.data.debian.containers import iterate_members, split_path
from soundctm.data.debian.packages import fetch_package, same_file
from soundctm.errors import UserError

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed here")
COLUMNS = [
    "file_name",
    "caption",
    "label",
    "split",
    "group",
    "seconds",
    "package",
    "path",
    "source_sha256",
    "yamnet_top3",
]


def wav(pitch: float, seconds: float = 0.5, rate: int = 44100, channels: int = 1) -> bytes:
    time = np.arange(int(seconds * rate)) / rate
    buffer = io.BytesIO()
    tone = 0.4 * np.sin(2 * np.pi * pitch * time)
    soundfile.write(buffer, np.stack([tone] * channels, 1), rate, format="WAV")
    return buffer.getvalue()


def zip_archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def cat_archive(sounds: list[tuple[str, bytes]]) -> bytes:
    """An OpenTTD sound set of (description, wav)."""
    index, body, start = b"", b"", 8 * len(sounds)
    for description, content in sounds:
        text = description.encode() + b"\0"
        entry = bytes([len(text)]) + text + content + b"\x01\0"
        index += struct.pack("<II", start + len(body), len(entry))
        body += entry
    return index + body


def rcc_archive(folder: str, file: str, content: bytes, compress: bool) -> bytes:
    """A Qt resource of version 1 with one file in one folder."""
    names = b""
    offsets = []
    for name in (folder, file):
        offsets.append(len(names))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    payload = struct.pack(">I", len(content)) + zlib.compress(content) if compress else content
    data = struct.pack(">I", len(payload)) + payload
    tree = struct.pack(">IHII", 0, 2, 1, 1)  # the root: a folder with one child, node 1
    tree += struct.pack(">IHII", offsets[0], 2, 1, 2)
    tree += struct.pack(">IHHHI", offsets[1], int(compress), 0, 1, 0)
    head = 20
    return (
        struct.pack(">4sIIII", b"qres", 1, head, head + len(tree), head + len(tree) + len(data)) + tree + data + names
    )


def read_all(content: bytes, name: str) -> dict[str, bytes]:
    return dict(iterate_members(io.BytesIO(content), name, lambda _: True))


def test_paths_into_archives():
    assert split_path("usr/a/x.ogg") == ("usr/a/x.ogg", None)
    assert split_path("usr/conf.d/x.ogg") == ("usr/conf.d/x.ogg", None)
    assert split_path("usr/0snd.pk3.d/a/b.ogg") == ("usr/0snd.pk3", "a/b.ogg")
    assert same_file("u/s.cat.d/07_one.wav", "u/s.cat.d/07_another.wav")
    assert not same_file("u/s.cat.d/07_one.wav", "u/s.cat.d/08_one.wav")


@pytest.mark.parametrize("kind", ["zip", "pk3"])
def test_zip(kind):
    assert read_all(zip_archive({"a/b.ogg": b"1", "c": b"2"}), f"x.{kind}") == {"a/b.ogg": b"1", "c": b"2"}


@pytest.mark.parametrize("compress", [False, True])
def test_qt_resources(compress):
    assert read_all(rcc_archive("sounds", "bell.wav", b"content", compress), "x.rcc") == {"sounds/bell.wav": b"content"}


def test_openttd_sound_set():
    first, second = wav(200), wav(300)
    sounds = read_all(cat_archive([("Splash", first), ("Factory whistle", second)]), "x.cat")
    assert sounds == {"00_Splash.wav": first, "01_Factory_whistle.wav": second}


def test_damaged_archives_are_named():
    for name in ("x.zip", "x.rcc", "x.cat"):
        with pytest.raises(UserError):
            read_all(b"\xff\xff\xff", name)
    with pytest.raises(UserError, match="x.tar is no known archive"):
        read_all(b"", "x.tar")


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2)])
def test_convert(tmp_path, rate, channels):
    seconds = build_corpus.convert(wav(440, 1.5, rate, channels), tmp_path / "x.ogg")
    samples, out_rate = soundfile.read(tmp_path / "x.ogg")
    assert out_rate == 16000 and samples.ndim == 1
    assert seconds == pytest.approx(1.5, abs=0.01) and len(samples) == pytest.approx(24000, abs=160)
    assert np.abs(np.fft.rfft(samples)).argmax() / 1.5 == pytest.approx(440, abs=2)
    with pytest.raises(UserError, match="bad.ogg cannot be read"):
        build_corpus.convert(b"no sound", tmp_path / "bad.ogg")
    assert [path.name for path in tmp_path.iterdir()] == ["x.ogg"]


@pytest.fixture
def package(tmp_path) -> Path:
    """A folder with sounds-data_1_all.deb and table.csv, which lists its sounds in several ways."""
    files = {
        "usr/share/bell.wav": wav(400),
        "usr/share/moved-here/dog.wav": wav(500),
        "usr/share/changed.wav": wav(600),
        "usr/share/more.zip": zip_archive({"in/cat.wav": wav(700)}),
        "usr/share/set.cat": cat_archive([("Rain", wav(800))]),
    }
    rows = [
        ("bell", "usr/share/bell.wav", files["usr/share/bell.wav"]),
        ("dog", "usr/share/dog.wav", files["usr/share/moved-here/dog.wav"]),  # found by its hash
        ("cow", "usr/share/changed.wav", wav(601)),  # another content than listed
        ("cat", "usr/share/more.zip.d/in/cat.wav", wav(700)),
        ("rain", "usr/share/set.cat.d/00_Rain.wav", wav(800)),
        ("owl", "usr/share/owl.wav", wav(900)),  # not in the package
    ]
    root = tmp_path / "root"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN/control").write_text(
        "Package: sounds-data\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n"
    )
    debs = tmp_path / "debs"
    debs.mkdir()
    subprocess.run(
        ["dpkg-deb", "--build", str(root), str(debs / "sounds-data_1_all.deb")], check=True, capture_output=True
    )
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for label, path, content in [*rows, ("fox", "usr/fox.wav", b"")]:
            name = "absent-package-of-sounds" if label == "fox" else "sounds-data"
            digest = hashlib.sha256(content).hexdigest()
            writer.writerow(
                [f"clips/{label}.ogg", f"a {label}", label, "train", label, 0.5, name, path, digest, "Animal"]
            )
    return tmp_path


@needs_dpkg
def test_build_and_repeat(package):
    out = package / "corpus"
    report = build_corpus.build(package / "table.csv", out, package / "debs", progress=False)
    assert report.made == 5
    assert report.missing == ["clips/owl.ogg"] and report.other_content == ["clips/cow.ogg"]
    assert list(report.skipped) == ["absent-package-of-sounds"]
    assert sorted(row.label for row in load_corpus(out)) == ["bell", "cat", "cow", "dog", "rain"]
    samples, rate = soundfile.read(out / "clips/dog.ogg")
    assert rate == 16000 and np.abs(np.fft.rfft(samples)).argmax() * 2 == pytest.approx(500, abs=4)
    (out / "clips/cat.ogg").unlink()
    untouched = (out / "clips/dog.ogg").stat().st_mtime_ns
    again = build_corpus.build(package / "table.csv", out, package / "debs", ["sounds-data"], progress=False)
    assert (again.made, again.kept) == (1, 4) and (out / "clips/dog.ogg").stat().st_mtime_ns == untouched
    assert len(list((package / "debs").glob("*.deb"))) == 1  # a package that was there is not deleted


@needs_dpkg
def test_command(package, capsys):
    arguments = ["--table", str(package / "table.csv"), "--output_dir", str(package / "out")]
    arguments += ["--package_dir", str(package / "debs"), "--packages", "sounds-data"]
    assert build_corpus.main(arguments) == 0
    assert "5 clips made" in capsys.readouterr().out
    assert build_corpus.main([*arguments[:-1], "nothing"]) == 2
    assert "nothing is no package" in capsys.readouterr().err


@needs_dpkg
def test_damaged_package_is_skipped(package):
    (package / "debs/sounds-data_1_all.deb").write_bytes(b"!<arch>\nnothing")
    report = build_corpus.build(package / "table.csv", package / "c", package / "debs", ["sounds-data"], progress=False)
    assert report.made == 0 and "cannot be opened" in report.skipped["sounds-data"]


@needs_dpkg
def test_a_place_that_cannot_be_written_and_a_full_disk_are_one_sentence(package, small_disk, capsys):
    arguments = ["--table", str(package / "table.csv"), "--package_dir", str(package / "debs")]
    assert build_corpus.main([*arguments, "--output_dir", str(package / "table.csv" / "below")]) == 2
    assert "below cannot be written: Not a directory" in capsys.readouterr().err
    (small_disk / "other").write_bytes(bytes(298 * 1024))
    assert build_corpus.main([*arguments, "--output_dir", str(small_disk)]) == 2
    said = capsys.readouterr().err
    assert "cannot be written: No space left on device" in said and "Traceback" not in said
    assert not list(small_disk.rglob("*.tmp"))


@pytest.mark.parametrize(
    "column, value, words",
    [
        ("file_name", "../../out.ogg", "leads out of its folder"),
        ("file_name", "/tmp/out.ogg", "is an absolute path"),
        ("package", "-oAPT::Update::Pre-Invoke::=touch out", "no name of a Debian package"),
        ("package", "../debs/sounds", "no name of a Debian package"),
        ("seconds", "long", "seconds is 'long'"),
    ],
)
def test_a_table_of_a_stranger_is_refused_in_one_sentence(tmp_path, capsys, column, value, words):
    row = dict.fromkeys(COLUMNS, "x") | {"file_name": "clips/a.ogg", "seconds": "1", "package": "sounds"}
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerow(row | {column: value})
    assert build_corpus.main(["--table", str(tmp_path / "table.csv"), "--output_dir", str(tmp_path / "a" / "b")]) == 2
    assert words in capsys.readouterr().err and [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_packages_are_not_looked_for_without_apt(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no apt-get here"):
        fetch_package("sound-icons", tmp_path)


def test_the_table_is_complete():
    rows = load_corpus(DATA_FOLDER / "corpus.csv")
    assert len(rows) > 2000 and len({row.file_name for row in rows}) == len(rows)
    groups = {split: {row.group for row in rows if row.split == split} for split in ("train", "test")}
    assert not groups["train"] & groups["test"]
    with (DATA_FOLDER / "corpus.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert all(len(row["source_sha256"]) == 64 and row["package"] and row["path"] and row["licence"] for row in table)
    hashes = {split: {row["source_sha256"] for row in table if row["split"] == split} for split in ("train", "test")}
    assert not hashes["train"] & hashes["test"]
