"""`soundctm info`: what it finds, for people and as JSON."""

import json

from script_runs import ROOT

from soundctm.commands import main
from soundctm.commands.info import card_licence


def test_for_people(capsys):
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    assert "torch" in shown and "cpu" in shown and "float32" in shown and "mini" in shown and "licence mit" in shown


def test_as_json(capsys, tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ckpt").mkdir()
    (tmp_path / "ckpt" / "mine").symlink_to(tiny_checkpoint)
    (tmp_path / "ckpt" / "broken").mkdir()
    (tmp_path / "ckpt" / "broken" / "model_index.json").write_text("[")
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    models = {model["name"]: model for model in found["models"]}
    assert {"mini", "ckpt/mine", "ckpt/broken"} <= set(models)
    mini = models["mini"]
    assert (mini["seconds"], mini["sampling_rate"], mini["licence"]) == (2.56, 16000, "mit")
    assert "fault" in models["ckpt/broken"] and models["ckpt/mine"]["licence"] is None
    assert sum(device["default"] for device in found["devices"]) == 1
    assert found["libraries"]["torch"] and found["licences"]["soundctm"] == "MIT"


def test_a_licence_is_the_one_in_the_cards_head(tmp_path):
    assert card_licence(ROOT / "ckpt" / "mini") == "mit"
    for text, found in (
        ("---\nlicense: cc-by-4.0\n---\n# x", "cc-by-4.0"),
        ("# license: x", None),
        ("---\n[\n---\n", None),
    ):
        (tmp_path / "README.md").write_text(text)
        assert card_licence(tmp_path) == found
