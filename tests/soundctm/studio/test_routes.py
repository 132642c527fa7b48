"""The studio over HTTP: jobs that begin with a sound of the history, what is asked of it, and who may not ask."""

import csv
import io
import json

import numpy as np
import pytest
import soundfile
from studio_clips import made

from soundctm.inference.options import InferenceOptions
from soundctm.inference.refining import refined
from soundctm.inference.steering import read_cell


def rows(history) -> list[dict[str, str]]:
    with open(history.folder / "manifest.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def generate(studio, **body):
    return studio.done(studio.client.post("/v1/generate", json={"prompt": "wind", "wait": False, **body}))


def test_what_is_made_is_in_the_history_before_it_is_told_of(studio):
    job = generate(studio, variants=3, seed=5, steps=1)
    items = [clip["item"] for clip in job["clips"]]
    assert [clip["history"] for clip in job["clips"]] == [item["id"] for item in items]
    listed = studio.client.get("/studio/history").json()
    assert listed["items"][:3] == items and listed["total"] == 5 and listed["next"] is None
    for clip, item in zip(job["clips"], items, strict=True):
        sound, rate = soundfile.read(io.BytesIO(studio.client.get(item["audio"]).content), dtype="float32")
        own, _ = soundfile.read(io.BytesIO(studio.client.get(clip["url"]).content), dtype="float32")
        assert np.array_equal(sound, own) and str(clip["seed"]) == item["seed"]
    assert [row["file"] for row in rows(studio.history)[2:]] == ["wind.wav", "wind_2.wav", "wind_3.wav"]


def test_refining_keeps_the_seed_and_all_else(studio):
    asked = {"omega": 4.0, "nu": 1.5, "negative_prompt": "music", "sampler": "gamma_multistep", "gamma": 0.3}
    draft = generate(studio, steps=1, seed=9, seconds=0.9, loop=True, **asked)["clips"][0]["item"]
    job = studio.done(studio.client.post(f"/studio/history/{draft['id']}/refine", json={"steps": 3}))
    assert job["status"] == "done" and job["clips"][0]["item"]["parent"] == draft["id"]
    before, after = rows(studio.history)[-2:]
    told = ("steps", "file", "target_length", "seconds")
    assert {k: v for k, v in before.items() if k not in told} == {k: v for k, v in after.items() if k not in told}
    assert (before["steps"], after["steps"]) == ("1", "3")


def test_the_scripts_make_the_same_clips_of_the_manifest(studio, tmp_path):
    """Also shorter and longer ones, whose form the two must share."""
    from soundctm.commands import main

    asked = ({}, {"seconds": 0.3}, {"seconds": 1.1, "omega": 4.0}, {"nu": 1.5, "negative_prompt": "music"})
    made = [generate(studio, seed=4, steps=2, **each)["clips"][0]["item"]["file"] for each in asked]
    table = str(studio.history.folder / "manifest.csv")
    for file in made:
        place = ["-o", str(tmp_path / "again"), "--device", "cpu"]
        assert main(["generate", "--manifest", table, "--only", file, *place]) == 0
        assert (tmp_path / "again" / file).read_bytes() == (studio.history.folder / file).read_bytes()


def test_a_seed_that_a_javascript_number_cannot_hold_is_kept(studio):
    large = 2**63 - 25
    item = studio.history.add(made("thunder", large))
    job = studio.done(studio.client.post(f"/studio/history/{item.id}/again", json={"prompt": "hail", "steps": 1}))
    assert job["clips"][0]["item"]["seed"] == str(large) and rows(studio.history)[-1]["seed"] == str(large)
    job = studio.done(studio.client.post(f"/studio/history/{item.id}/refine", json={"steps": 2}))
    assert rows(studio.history)[-1]["seed"] == str(large)


EDITS = {
    "vary": {"strength": 0.25},
    "inpaint": {"regions": [[0.1, 0.3], [0.4, 0.5]], "strength": 0.9},
    "extend": {"seconds": 0.5, "side": "before"},
    "loop": {"seam": 0.2},
    "bands": {"bands": [[1000, 3000]]},
}


@pytest.mark.parametrize("operation", EDITS)
def test_an_edit_is_a_line_that_the_scripts_and_the_studio_make_again(studio, operation):
    source = generate(studio, seed=1, steps=1)["clips"][0]["item"]
    body = {"operation": operation, "prompt": "hail", "steps": 1, "seed": 3, **EDITS[operation]}
    job = studio.done(studio.client.post(f"/studio/history/{source['id']}/edit", json=body))
    assert job["status"] == "done", job
    item, row = job["clips"][0]["item"], rows(studio.history)[-1]
    assert item["parent"] == source["id"] and item["operation"] == operation
    sound = studio.history.folder / source["file"]
    assert read_cell(row["steering"], "row")["init_audio"] == str(sound)
    options, clips = refined(InferenceOptions(refine=f"{studio.history.folder}/manifest.csv:{row['file']}"))
    assert options.init_audio == str(sound) and clips[0].seed == 3
    again = studio.done(studio.client.post(f"/studio/history/{item['id']}/refine", json={"steps": 1}))
    first, second = (studio.client.get(each["audio"]).content for each in (item, again["clips"][0]["item"]))
    assert first == second
    sound.unlink()
    answer = studio.client.post(f"/studio/history/{item['id']}/refine", json={"steps": 1})
    assert answer.status_code == 400 and "not there any more" in answer.json()["error"]


def test_a_curve_and_a_blend_are_refined_as_they_were(studio):
    for asked in ({"control": {"points": [[0, -50], [0.5, -20]]}}, {"blend": {"prompt": "hail", "share": [0, 1]}}):
        item = generate(studio, seed=2, steps=2, **asked)["clips"][0]["item"]
        job = studio.done(studio.client.post(f"/studio/history/{item['id']}/refine", json={"steps": 2}))
        first, second = (studio.client.get(each["audio"]).content for each in (item, job["clips"][0]["item"]))
        assert first == second


def test_a_sound_of_another_client_is_kept_with_what_was_made_of_it(studio):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.sin(np.arange(8000) / 9) * 0.3, 16000, format="WAV")
    request = {"operation": "vary", "prompt": "x", "strength": 0.2, "steps": 1, "wait": False}
    answer = studio.client.post("/v1/edit", files={"audio": buffer.getvalue()}, data={"request": json.dumps(request)})
    item = studio.done(answer)["clips"][0]["item"]
    kept = next((studio.history.folder / "inputs").iterdir())
    assert item["parent"] is None and str(kept) in rows(studio.history)[-1]["steering"]
    studio.done(studio.client.post(f"/studio/history/{item['id']}/refine", json={"steps": 1}))


def test_own_sounds_are_kept_edited_and_sent_as_asked(studio):
    buffer = io.BytesIO()
    stereo = np.stack([np.sin(np.arange(16000) / 9), np.zeros(16000)], 1) * 0.3
    soundfile.write(buffer, stereo, 16000, format="FLAC")
    answer = studio.client.post("/studio/history", params={"name": "a\u202e<b>.flac"}, content=buffer.getvalue())
    assert answer.status_code == 201
    item = answer.json()
    assert studio.client.get(item["audio"]).content == buffer.getvalue()
    got = studio.client.get(item["audio"], params={"format": "wav", "bits": 24, "save": 1})
    samples, _ = soundfile.read(io.BytesIO(got.content))
    assert samples.shape == (16000, 2) and got.headers["content-disposition"].startswith("attachment")
    told = studio.client.get(f"/studio/history/{item['id']}/spectrogram").json()
    assert told["channels"] == 2 and told["seconds"] == 1
    answer = studio.client.post(f"/studio/history/{item['id']}/refine", json={"steps": 2})
    assert answer.status_code == 400 and "was not made by a model" in answer.json()["error"]
    body = {"operation": "vary", "prompt": "hail", "strength": 0.2, "steps": 1}
    assert studio.done(studio.client.post(f"/studio/history/{item['id']}/edit", json=body))["status"] == "done"


@pytest.mark.parametrize(
    ("method", "path", "options", "code", "says"),
    [
        ("GET", "/studio/history/..%2F..%2Fetc%2Fpasswd/audio", {}, 404, ""),
        ("GET", "/studio/history/%00", {}, 404, "no such sound"),
        ("DELETE", "/studio/history/0000000000000000", {}, 404, "no such sound"),
        ("POST", "/studio/history/0000000000000000/restore", {}, 404, "in the trash"),
        ("PATCH", "/studio/history/x", {"json": {"starred": 1}}, 400, "starred"),
        ("PATCH", "/studio/history/x", {"json": {"starred": True, "file": "x"}}, 400, "there is no 'file'"),
        ("PATCH", "/studio/history/x", {"content": "starred"}, 415, "JSON"),
        ("GET", "/studio/history?limit=1e9", {}, 400, "limit"),
        ("GET", "/studio/history?before=zzz", {}, 409, "has changed"),
        ("POST", "/studio/history?name=x.wav", {"content": b"no sound"}, 400, "cannot be read"),
        ("GET", "/static/../app.py", {}, 404, ""),
        ("GET", "/static/..%2fapp.py", {}, 404, ""),
    ],
)
def test_what_is_wrong_is_a_sentence(studio, method, path, options, code, says):
    answer = studio.client.request(method, path, **options)
    assert answer.status_code == code and says in answer.json()["error"], answer.text
    assert len(studio.history) == 2


def test_an_edit_names_its_sound_once_and_a_new_seed_is_not_another(studio):
    item = studio.client.get("/studio/history").json()["items"][0]
    edit = {"operation": "vary", "prompt": "x", "strength": 0.1}
    for path, body in (
        ("edit", edit | {"audio": "AAAA"}), ("edit", {"operation": "refine"}), ("edit", edit | {"regions": [[0, 1]]}),
        ("edit", edit | {"prompt": " "}), ("again", {"prompt": "x", "seed": 3}), ("refine", {"steps": 0}),
        ("refine", {"steps": 10_000}),
    ):  # fmt: skip
        answer = studio.client.post(f"/studio/history/{item['id']}/{path}", json=body)
        assert answer.status_code == 400 and answer.json()["field"], (body, answer.text)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "studio.example:8764"},
        {"Origin": "http://studio.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_other_sites_are_refused_everywhere(studio, headers):
    item = studio.history.items()[0][0]
    for method, path in (
        ("GET", "/"), ("GET", "/static/js/main.js"), ("GET", "/studio/history"), ("POST", "/studio/history?name=x.wav"),
        ("GET", f"/studio/history/{item.id}/audio"), ("DELETE", f"/studio/history/{item.id}"),
    ):  # fmt: skip
        assert studio.client.request(method, path, headers=headers).status_code == 403
    assert len(studio.history) == 2


def test_on_a_full_disk_the_sound_is_told_of_with_a_warning(studio, monkeypatch):
    from soundctm.errors import Unwritable

    def full(*given, **options):
        raise Unwritable("the disk is full")

    monkeypatch.setattr(studio.history, "add", full)
    clip = generate(studio)["clips"][0]
    assert "item" not in clip and "the disk is full" in clip["warnings"]
    assert soundfile.read(io.BytesIO(studio.client.get(clip["url"]).content))[1] == 16000
