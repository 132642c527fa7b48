"""Sounds over HTTP: each is the pipeline's own for its seed."""

import csv
import io
import zipfile

import numpy as np
import pytest
import soundfile

from soundctm.editing import Blend, Region
from soundctm.inference.manifest import COLUMNS

STEP = 1 / 2**15  # of 16 bits


def sound(answer):
    assert answer.status_code == 200, answer.text
    return soundfile.read(io.BytesIO(answer.content), dtype="float32")


def wav(audio, rate=16000):
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, rate, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def noise():
    return (0.3 * np.random.default_rng(0).standard_normal(16000)).astype(np.float32)


def test_a_sound_is_the_pipelines_own_for_its_seed(client, pipe):
    answer = client.post("/v1/generate", json={"prompt": "a dog barking", "seed": 7, "steps": 2})
    audio, rate = sound(answer)
    assert answer.headers["content-type"] == "audio/wav" and answer.headers["x-soundctm-seed"] == "7"
    assert 'filename="a_dog_barking.wav"' in answer.headers["content-disposition"]
    own = pipe("a dog barking", 2, seed=[7])
    assert rate == own.sampling_rate and np.abs(audio - own.audios[0]).max() <= STEP


@pytest.mark.parametrize(
    "asked, options",
    [
        ({"sampler": "gamma_multistep", "gamma": 0.3, "steps": 3, "omega": 2.0}, None),
        ({"nu": 1.5, "negative_prompt": "wind", "omega": "none"}, None),
        ({"seconds": 1.1}, None),
        ({"blend": {"prompt": "rain", "seed": 3, "share": [0, 1]}}, {"blend": Blend("rain", 3, (0, 1))}),
        ({"loop": True}, None),
    ],
)
def test_everything_that_can_be_asked_of_a_sound(client, pipe, asked, options):
    audio, _ = sound(client.post("/v1/generate", json={"prompt": "a dog", "seed": 7, "bits": 32, **asked}))
    own = {"num_inference_steps" if name == "steps" else name: value for name, value in asked.items()} | (options or {})
    expected = pipe("a dog", seed=[7], **own).audios[0]
    assert len(audio) == round(asked.get("seconds", 0.64) * 16000)
    if "seconds" not in asked:  # else it was cut as `soundctm generate` does: the next test
        np.testing.assert_allclose(audio, expected, atol=1e-4)


def test_lengths_are_those_of_the_command(client, pipe):
    from soundctm.inference.finishing import finish

    short, _ = sound(client.post("/v1/generate", json={"prompt": "a", "seed": 1, "seconds": 0.2, "bits": 32}))
    whole = pipe("a", seed=[1]).audios[0]
    np.testing.assert_allclose(short, finish(whole, 16000, 0.2)[0], atol=1e-4)
    loop, _ = sound(client.post("/v1/generate", json={"prompt": "a", "seed": 1, "seconds": 0.47, "loop": True}))
    assert len(loop) % pipe.codec.samples_per_latent == 0 and abs(len(loop) / 16000 - 0.47) < 0.04
    curve = {"points": [[0, -30], [0.5, -20]]}
    asked = {"prompt": "a", "seed": 1, "seconds": 0.5, "control": curve, "bits": 32}
    led, _ = sound(client.post("/v1/generate", json=asked))
    from soundctm.control import Control, Curve, Objective, intensity

    own = pipe("a", seed=[1], seconds=0.5, control=Control(Objective(intensity, Curve(((0, -30), (0.5, -20)))), "mean"))
    np.testing.assert_allclose(led, own.audios[0], atol=1e-3)


def test_several_come_as_a_zip_with_a_manifest(client, pipe):
    asked = {"prompt": "../a <b>dog</b>\n", "variants": 3, "seed": 7, "format": "flac", "bits": 24}
    answer = client.post("/v1/generate", json=asked)
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    columns, *rows = csv.reader(io.StringIO(archive.read("manifest.csv").decode()))
    assert columns == COLUMNS and len(rows) == 3
    assert [row[0] for row in rows] == archive.namelist()[:-1] == [f"a_b_dog_b_{k}.flac" for k in range(3)]
    assert rows[0][columns.index("seed")] == "7" and len({row[columns.index("seed")] for row in rows}) == 3
    for row in rows:
        audio, _ = soundfile.read(io.BytesIO(archive.read(row[0])), dtype="float32")
        own = pipe(asked["prompt"], seed=[int(row[columns.index("seed")])]).audios[0]
        np.testing.assert_allclose(audio, own, atol=1e-4)
        assert row[columns.index("caption")] == asked["prompt"]


EDITS = {
    "vary": ({"strength": 0.4}, lambda pipe, x: pipe.vary("a", x, strength=0.4, seed=[7])),
    "inpaint": ({"regions": [[0.2, 0.5]]}, lambda pipe, x: pipe.inpaint("a", x, [Region(0.2, 0.5)], seed=[7])),
    "extend": ({"seconds": 0.3, "side": "before"}, lambda pipe, x: pipe.extend("a", x, before=0.3, seed=[7])),
    "loop": ({"seam": 0.2}, lambda pipe, x: pipe.make_loop("a", x, seam=0.2, seed=[7])),
    "bands": ({"bands": [[4000, 8000]]}, lambda pipe, x: pipe.make_bands("a", x, [(4000, 8000)], seed=[7])),
}


@pytest.mark.parametrize("operation", EDITS)
def test_edits_are_the_pipelines_own(client, pipe, noise, operation):
    import base64
    import json

    more, own = EDITS[operation]
    asked = {"operation": operation, "prompt": "a", "seed": 7, "bits": 32, **more}
    expected = own(pipe, noise).audios[0]
    form = client.post("/v1/edit", data={"request": json.dumps(asked)}, files={"audio": ("../../x", wav(noise))})
    np.testing.assert_allclose(sound(form)[0], expected, atol=1e-4)
    coded = client.post("/v1/edit", json={**asked, "audio": base64.b64encode(wav(noise)).decode()})
    assert (sound(coded)[0] == sound(form)[0]).all()  # a wav of floats says when it was written
    fields = {name: value if isinstance(value, str) else json.dumps(value) for name, value in asked.items()}
    fielded = client.post("/v1/edit", data=fields, files={"audio": wav(noise)})
    assert (sound(fielded)[0] == sound(form)[0]).all()


def test_an_edit_of_another_rate_is_read_as_the_pipeline_reads_it(client, pipe):
    audio = np.random.default_rng(1).uniform(-0.5, 0.5, (9000, 2)).astype(np.float32)
    asked = {"operation": "vary", "prompt": "a", "strength": "0.4", "seed": "7", "bits": "32"}
    made, _ = sound(client.post("/v1/edit", data=asked, files={"audio": wav(audio, 11025)}))
    np.testing.assert_allclose(made, pipe.vary("a", audio.T, 11025, strength=0.4, seed=[7]).audios[0], atol=1e-4)


def test_a_draft_is_refined_and_edited_without_being_sent_back(client, pipe):
    asked = {"prompt": "rain", "steps": 1, "variants": 2, "seed": 5, "sampler": "onestep", "wait": False}
    job = client.get(client.post("/v1/generate", json=asked).json()["url"]).json()
    list(client.get(f"/v1/jobs/{job['id']}/events").iter_lines())
    job = client.get(f"/v1/jobs/{job['id']}").json()
    of = {"job": job["id"], "clip": 1}
    refined, _ = sound(client.post("/v1/edit", json={"operation": "refine", "of": of, "steps": 3, "bits": 32}))
    own = pipe("rain", 3, sampler="deterministic", seed=[job["clips"][1]["seed"]])
    np.testing.assert_allclose(refined, own.audios[0], atol=1e-4)
    varied, _ = sound(
        client.post("/v1/edit", json={"operation": "vary", "of": of, "strength": 0.2, "seed": 2, "bits": 32})
    )
    draft = pipe("rain", 1, seed=[job["clips"][1]["seed"]]).audios[0]
    np.testing.assert_allclose(varied, pipe.vary("rain", draft, strength=0.2, seed=[2]).audios[0], atol=1e-3)


def test_a_job_from_its_beginning_to_its_end(client):
    answer = client.post("/v1/generate", json={"prompt": "a dog", "variants": 2, "seed": 3, "wait": False})
    assert answer.status_code == 202 and answer.headers["location"] == answer.json()["url"]
    text = client.get(answer.json()["events"])
    assert text.headers["content-type"].startswith("text/event-stream")
    job = client.get(answer.json()["url"]).json()
    assert job["status"] == "done" and job["progress"] == 1 and [c["index"] for c in job["clips"]] == [0, 1]
    for clip in job["clips"]:
        for query, kind in (("", "WAV"), ("?format=flac&bits=24", "FLAC"), ("?format=wav&bits=32", "WAV")):
            answer = client.get(clip["url"] + query)
            with soundfile.SoundFile(io.BytesIO(answer.content)) as file:
                assert file.format == kind and file.frames == clip["seconds"] * clip["sampling_rate"]
    assert client.delete(f"/v1/jobs/{job['id']}").json()["status"] == "done"
    again = client.post("/v1/generate", json=job["request"] | {"wait": True, "variants": 1})
    assert np.abs(sound(again)[0] - sound(client.get(job["clips"][0]["url"]))[0]).max() <= STEP


WRONG = [
    ({"prompt": ""}, "prompt", "prompt is empty; say what shall be heard"),
    ({"prompt": 3}, "prompt", "prompt is 3; input should be a valid string"),
    ({}, "prompt", "prompt is missing"),
    ({"prompt": "a" * 1001}, "prompt", "prompt has 1001 characters; 1000 is the limit"),
    ({"prompt": "a", "seconds": 61}, "seconds", "a clip would have 61 s; 60 s is the limit"),
    ({"prompt": "a", "seconds": True}, "seconds", "seconds is true; input should be a valid number"),
    ({"prompt": "a", "steps": 65}, "steps", "steps is 65; it must be at most 64"),
    ({"prompt": "a", "steps": "4"}, "steps", 'steps is "4"; input should be a valid integer'),
    ({"prompt": "a", "seed": 2**53}, "seed", "less than or equal to"),
    ({"prompt": "a", "variants": 9}, "variants", "variants is 9; it must be at most 8"),
    ({"prompt": "a", "sampler": "euler"}, "sampler", "sampler is"),
    ({"prompt": "a", "path": "/etc/passwd"}, "path", "there is no 'path'"),
    ({"prompt": "a", "format": "flac", "bits": 32}, "bits", "bits is 32, which a flac cannot hold"),
    ({"prompt": "a", "negative_prompt": "b"}, "negative_prompt", "negative_prompt has no effect at nu 1"),
    ({"prompt": "a", "control": {"points": [[9, 0]]}}, "control", "the curve goes to 9 s"),
    ({"prompt": "a", "control": {"points": [[0, 1e999]]}}, None, ""),
    ({"prompt": "a", "blend": {}}, "blend", "a blend needs a second prompt"),
    ({"prompt": "a", "blend": {"prompt": "b", "what": 1}}, "blend", "there is no 'blend.what'"),
]


@pytest.mark.parametrize("asked, field, sentence", WRONG)
def test_what_is_wrong_is_one_sentence(client, asked, field, sentence):
    import json

    answer = client.post("/v1/generate", content=json.dumps(asked), headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    said = answer.json()
    assert set(said) == {"error", "field"} and sentence in said["error"] and "\n" not in said["error"]
    assert field is None or said["field"] == field


WRONG_EDITS = [
    ({"operation": "vary", "prompt": "a"}, "strength", "vary needs strength"),
    ({"operation": "inpaint", "prompt": "a", "regions": [[0.5, 2]]}, "regions", "outside of the clip"),
    ({"operation": "inpaint", "prompt": "a", "regions": [[0.5]]}, "regions", "regions.0"),
    ({"operation": "inpaint", "prompt": "a", "regions": []}, "regions", "inpaint needs regions"),
    ({"operation": "vary", "prompt": "a", "strength": 0.1, "bands": [[1, 2]]}, "bands", "no effect on vary"),
    ({"operation": "extend", "prompt": "a", "seconds": 60}, "seconds", "60 s is the limit"),
    ({"operation": "loop", "prompt": "a", "seam": 1.5}, "seam", "does not fit"),
    ({"operation": "bands", "prompt": "a", "bands": [[9000, 9500]]}, "bands", "outside of the model's range"),
    ({"operation": "refine"}, "of", "refine needs of"),
    ({"operation": "vary", "strength": 0.1}, "prompt", "prompt is empty"),
    ({"operation": "stretch", "prompt": "a"}, "operation", "operation is"),
    ({"operation": "vary", "prompt": "a", "strength": 0.1, "of": {"job": "x"}}, "of", "name two sounds"),
]


@pytest.mark.parametrize("asked, field, sentence", WRONG_EDITS)
def test_what_is_wrong_with_an_edit(client, noise, asked, field, sentence):
    import json

    answer = client.post("/v1/edit", data={"request": json.dumps(asked)}, files={"audio": wav(noise)})
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"] == field and sentence in answer.json()["error"]


def test_what_is_not_there(client):
    for method, path, code in (
        ("GET", "/v1/jobs/nothing", 404), ("GET", "/v1/jobs/nothing/clips/0", 404), ("GET", "/nothing", 404),
        ("DELETE", "/v1/jobs/nothing", 404), ("PUT", "/v1/generate", 405), ("POST", "/v1/models/mini", 403),
        ("GET", "/v1/jobs/..%2f..%2fetc%2fpasswd", 404), ("GET", "/docs", 404),
    ):  # fmt: skip
        answer = client.request(method, path)
        assert answer.status_code == code and set(answer.json()) == {"error", "field"}, (path, answer.text)


def test_health_models_metrics_and_the_description(client):
    assert client.get("/health").json()["status"] == "ok"
    models = client.get("/v1/models").json()
    assert models["current"] == "tiny" and models["models"][0]["seconds"]["trained"] == 0.64
    client.post("/v1/generate", json={"prompt": "a"})
    text = client.get("/metrics").text
    assert 'soundctm_requests_total{method="POST",route="/v1/generate",status="200"}' in text
    assert "soundctm_clips_total" in text and "soundctm_batch_clips_bucket" in text
    described = client.get("/openapi.json").json()
    for path, form in (("/v1/generate", False), ("/v1/edit", True)):
        body = described["paths"][path]["post"]["requestBody"]["content"]
        assert body["application/json"]["examples"] and ("multipart/form-data" in body) == form


def test_references_within_the_description_lead_somewhere(client):
    described = client.get("/openapi.json").json()

    def references(value):
        if isinstance(value, dict):
            yield from [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            for part in value.values():
                yield from references(part)
        elif isinstance(value, list):
            for part in value:
                yield from references(part)

    for reference in references(described):
        place = described
        for part in reference.removeprefix("#/").split("/"):
            assert part in place, reference
            place = place[part]


def test_examples_of_the_description_are_taken(client):
    from soundctm.service.bodies import EDIT_EXAMPLES, GENERATE_EXAMPLES, EditBody, GenerateBody
    from soundctm.service.web.incoming import checked

    for examples, kind in ((GENERATE_EXAMPLES, GenerateBody), (EDIT_EXAMPLES, EditBody)):
        for example in examples.values():
            assert checked(kind, example["value"])
