"""What is deleted comes back as it was; a kill between two writes loses nothing."""

import os
import time

import pytest
from studio_clips import made

from soundctm.errors import UserError
from soundctm.files import append_line
from soundctm.inference.manifest import Manifest
from soundctm.studio.history import History
from soundctm.studio.history import trash as module
from soundctm.studio.history.folder import NotThere


def test_a_deleted_sound_comes_back_as_it_was(history, folder):
    rain = history.items("rain")[0][0]
    history.star(rain.id, True)
    content = (folder / rain.file).read_bytes()
    history.delete(rain.id)
    assert len(history.items()[0]) == 1 and not (folder / rain.file).exists()
    assert "rain.wav" not in Manifest(folder).read()
    with pytest.raises(NotThere):
        history.item(rain.id)
    assert history.add(made("rain", 5)).file == "rain_2.wav"  # its name is kept for it
    back = History(folder).restore(rain.id)
    assert back.to_json() == rain.to_json() | {"starred": True}
    assert (folder / rain.file).read_bytes() == content and "rain.wav" in Manifest(folder).read()
    with pytest.raises(NotThere):
        history.restore(rain.id)
    with pytest.raises(NotThere):
        history.delete("0" * 16)


def test_what_is_in_the_way_of_a_deleted_sound_is_kept(history, folder):
    rain = history.items("rain")[0][0]
    history.delete(rain.id)
    (folder / "rain.wav").write_bytes(b"of somebody else")
    with pytest.raises(UserError, match="is there already"):
        history.restore(rain.id)
    assert (folder / "rain.wav").read_bytes() == b"of somebody else"


class Killed(BaseException):
    """As if the process had ended there."""


@pytest.mark.parametrize("way", ["delete", "restore"])
@pytest.mark.parametrize("step", range(6))
def test_a_kill_between_two_writes_loses_nothing(history, folder, monkeypatch, way, step):
    rain = history.items("rain")[0][0]
    history.star(rain.id, True)
    content = (folder / rain.file).read_bytes()
    if way == "restore":
        history.delete(rain.id)
    left = [step]

    def counted(act):
        def acting(*given, **options):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return act(*given, **options)

        return acting

    with monkeypatch.context() as patch:
        for name in ("write_whole", "_move"):
            patch.setattr(module, name, counted(getattr(module, name)))
        patch.setattr("soundctm.studio.history.marks.write_whole", counted(module.write_whole))
        patch.setattr("soundctm.inference.manifest.write_whole", counted(module.write_whole))
        patch.setattr("soundctm.inference.manifest.append_line", counted(append_line))
        try:
            getattr(history, way)(rain.id)
            ended = True
        except Killed:
            ended = False
    after = History(folder)
    there = after.items("rain")[0]
    if ended:
        assert bool(there) == (way == "restore")
    if not there:
        there = [after.restore(rain.id)]
    assert (folder / "rain.wav").read_bytes() == content
    assert there[0].entry == rain.entry and "rain.wav" in Manifest(folder).read()
    assert [path.suffix for path in (folder / ".trash").glob("*")] == []


def test_old_ones_go(history, folder):
    rain = history.items("rain")[0][0]
    history.delete(rain.id)
    note = next((folder / ".trash").glob("*.json"))
    assert History(folder).restore(rain.id)
    history.delete(rain.id)
    text = note.read_text().replace(f'"deleted": {int(time.time()) // 100}', '"deleted": 1000000')
    assert "1000000" in text
    note.write_text(text)
    History(folder)
    assert os.listdir(folder / ".trash") == []


def test_notes_of_strangers_are_passed_over(history, folder, caplog):
    place = folder / ".trash"
    place.mkdir()
    for name, text in {
        "a": "{", "b": "[]", "c": '{"file": "../../x", "deleted": 1.0, "entry": null, "mark": {}}',
        "d": '{"file": "/etc/x", "deleted": 1.0, "entry": null, "mark": {"starred": 1, "made": 1, "parent": 1}}',
    }.items():  # fmt: skip
        (place / f"{name}.json").write_text(text)
    assert len(History(folder).items()[0]) == 2
    assert caplog.text.count("passed over") >= 4
