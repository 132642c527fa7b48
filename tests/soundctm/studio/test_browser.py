"""The page in a real browser over the small model: what a user does from the first caption to a file in the folder.

SOUNDCTM_SCREENSHOTS=1 writes the pictures of docs/studio.md. The tests follow each other in one browser, and the last
one reads the browser's own log. `pytest -s` prints how long things took.
"""

from __future__ import annotations

import csv
import io
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from browsing import ROOT, Studio, browser_or_skip, browsing, hosts_asked, poll
from PIL import Image

PICTURES = ROOT / "docs" / "studio" if os.environ.get("SOUNDCTM_SCREENSHOTS") == "1" else None
CARDS = ".card:not(.pending)"
SETTLED = "document.querySelectorAll('.pending').length === 0 && document.querySelectorAll('.card').length"
PLAYS = "document.querySelector('#transport .play').getAttribute('aria-label') === 'Pause'"
CHOSEN = ".card.chosen"


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    browser_or_skip()
    from tiny import write_checkpoint

    place = tmp_path_factory.mktemp("studio")
    write_checkpoint(place / "ckpt", teacher=False)
    found = Studio(place / "sounds", place=place)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("browser") / "net.json"


@pytest.fixture(scope="module")
def opened(studio, log):
    """(page, what the console and the network complained of)."""
    with browsing(log, color_scheme="dark") as context:
        page, faults = context.new_page(), []
        page.on(
            "console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("requestfailed", lambda request: None if closed(request) else faults.append(f"failed: {request.url}"))
        page.goto(studio.address)
        poll(page, "document.querySelector('#status').dataset.state === 'ready'")
        yield page, faults


def closed(request) -> bool:
    """The page itself has ended it: what it listens to once a job is over, and what a reload interrupts."""
    return request.failure == "net::ERR_ABORTED"


@pytest.fixture
def page(opened):
    page, faults = opened
    faults.clear()
    yield page
    assert faults == []


@pytest.fixture
def forgive(opened):
    """Call it for complaints of the browser that a test provokes."""

    def forgiving(words: str) -> None:
        opened[1][:] = [fault for fault in opened[1] if words not in fault]

    return forgiving


def picture(page, name: str) -> None:
    if PICTURES is not None:
        PICTURES.mkdir(exist_ok=True)
        page.wait_for_timeout(700)
        shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        shot.save(PICTURES / f"{name}.png", optimize=True)


def axe(page) -> list[str]:
    """What axe-core finds that is serious."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']}: {fault['help']} {[node['target'] for node in fault['nodes']][:3]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]


def write(page, caption: str, seed: int | None = None) -> None:
    page.fill("#prompt", caption)
    if seed is not None:
        page.fill("#seed", str(seed))
    page.press("#prompt", "Enter")


def saved(page, index: int, text: str) -> tuple[np.ndarray, int, str]:
    """Samples, rate and file name of a download of the card number `index`."""
    page.locator(CARDS).nth(index).locator(".saves > button").click()
    with page.expect_download() as download:
        page.get_by_role("link", name=text, exact=True).click()
    content = Path(download.value.path()).read_bytes()
    return *soundfile.read(io.BytesIO(content), dtype="float32"), download.value.suggested_filename


def rows(studio) -> list[dict[str, str]]:
    with open(studio.folder / "manifest.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_three_drafts_are_made_heard_starred_and_refined(page, studio):
    print(f"\npage after {studio.page_s:.1f} s, model after {studio.ready_s:.1f} s")
    assert studio.page_s < 60
    begun = time.monotonic()
    write(page, "a dog barking", 7)
    poll(page, PLAYS)  # the first one is heard as soon as it is there
    print(f"a draft of three heard after {time.monotonic() - begun:.2f} s")
    assert poll(page, SETTLED) == 3
    page.keyboard.press("Escape")  # out of the caption
    page.keyboard.press("Escape")
    poll(page, f"!({PLAYS})")
    begun = time.monotonic()
    page.fill("#variants", "1")
    write(page, "footsteps on gravel", 3)
    poll(page, PLAYS)
    print(f"a single draft heard after {time.monotonic() - begun:.2f} s")
    assert poll(page, SETTLED) == 4
    captions = page.locator(f"{CARDS} h3").all_text_contents()
    assert captions == ["footsteps on gravel", *["a dog barking"] * 3]
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")

    page.keyboard.press("ArrowRight")
    page.keyboard.press("s")
    assert poll(page, "document.querySelector('.card.chosen .star').getAttribute('aria-pressed')") == "true"
    page.keyboard.press(" ")
    poll(page, PLAYS)
    page.keyboard.press(" ")
    poll(page, f"!({PLAYS})")
    page.keyboard.press("r")
    assert poll(page, SETTLED, lambda count: count == 5)
    made = rows(studio)
    assert [row["steps"] for row in made] == ["1"] * 4 + ["4"]
    refined, draft = made[-1], next(row for row in made if row["file"] == "a_dog_barking.wav")
    assert refined["seed"] == draft["seed"] == "7" and refined["caption"] == "a dog barking"


def test_a_region_is_inpainted_and_the_rest_stays(page, studio):
    poll(page, "document.querySelector('.mel-box canvas').width > 300")
    page.keyboard.press("Escape")
    box = page.locator(".wave-box").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 30, steps=5)
    page.mouse.up()
    assert poll(page, "document.querySelectorAll('.region').length") == 1
    source = page.locator(CHOSEN).get_attribute("data-id")
    picture(page, "studio")
    page.get_by_role("button", name="Inpaint", exact=True).click()
    assert poll(page, SETTLED, lambda count: count == 6)
    made = rows(studio)[-1]
    assert '"inpaint"' in made["steering"] and page.locator(CHOSEN).get_attribute("data-id") != source
    edited, rate = soundfile.read(studio.folder / made["file"])
    original, _ = soundfile.read(next(studio.folder.glob("*_barking_4.wav")))
    same = edited[: len(original)] == original[: len(edited)]
    assert same[: int(0.35 * 2.56 * rate)].all() and same[int(0.65 * 2.56 * rate) :].all() and not same.all()


def test_other_edits_a_curve_and_two_at_equal_loudness(page, studio):
    count = page.locator(CARDS).count()
    for tab, button in (("Vary", "Vary"), ("Extend", "Extend"), ("Make a loop", "Make a loop")):
        page.get_by_role("tab", name=tab).click()
        page.get_by_role("button", name=button, exact=True).click()
        count += 1
        assert poll(page, SETTLED, lambda found, count=count: found == count)
    page.get_by_role("tab", name="Curve").click()
    box = page.locator("canvas.curve").bounding_box()
    page.mouse.move(box["x"] + 4, box["y"] + box["height"] * 0.9)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 4, box["y"] + box["height"] * 0.3, steps=12)
    page.mouse.up()
    page.keyboard.press("t")
    picture(page, "curve")
    page.keyboard.press("t")
    page.get_by_role("button", name="Make it follow").click()
    assert poll(page, SETTLED, lambda found: found == count + 1)
    told = ("strength", "extend_after", "seam", "curve")
    assert all(key in row["steering"] for row, key in zip(rows(studio)[-4:], told, strict=True))
    assert float(rows(studio)[-3]["seconds"]) == pytest.approx(float(rows(studio)[-4]["seconds"]) + 1)
    cards = page.locator(CARDS)
    cards.nth(0).locator(".letter.a").click()
    cards.nth(5).locator(".letter.b").click()
    level = poll(page, "document.querySelector('.compare .level').textContent")
    assert level == "equal" or level.endswith("dB")
    page.keyboard.press("Escape")
    page.keyboard.press("x")
    poll(page, PLAYS)
    before = page.locator(".compare [aria-pressed=true] b").text_content()
    page.keyboard.press("x")
    assert poll(page, "document.querySelector('.compare [aria-pressed=true] b').textContent", lambda now: now != before)
    page.keyboard.press("Escape")


def test_on_a_phone_the_chosen_sound_fits(page):
    page.set_viewport_size({"width": 400, "height": 800})
    page.evaluate("document.querySelector('#stage').scrollIntoView()")
    assert page.locator("#stage").bounding_box()["width"] <= 400
    picture(page, "phone")
    page.set_viewport_size({"width": 1360, "height": 860})


def test_after_a_reload_the_history_is_found_and_saved(page, studio):
    count = page.locator(CARDS).count()
    page.reload()
    assert poll(page, SETTLED) == count
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("gravel foot")
    assert poll(page, SETTLED, lambda found: found == 1)
    audio, rate, name = saved(page, 0, "flac, 24 bits")
    own, own_rate = soundfile.read(studio.folder / "footsteps_on_gravel.wav", dtype="float32")
    assert name == "footsteps_on_gravel.flac" and rate == own_rate and np.array_equal(audio, own)
    page.fill("#search", "")
    page.get_by_role("button", name="Starred").click()
    assert poll(page, SETTLED, lambda found: found == 1)
    page.get_by_role("button", name="Starred").click()
    assert poll(page, SETTLED, lambda found: found == count)

    first = page.locator(CARDS).first
    gone = first.locator("h3").text_content()
    first.get_by_label("Delete").click()
    assert poll(page, SETTLED, lambda found: found == count - 1)
    page.get_by_role("button", name="Undo").click()
    assert poll(page, SETTLED, lambda found: found == count)
    assert page.locator(CARDS).first.locator("h3").text_content() == gone
    dragged = page.evaluate(
        "(() => { const data = new DataTransfer(); const card = document.querySelector('.card.chosen');"
        "card.dispatchEvent(new DragEvent('dragstart', {dataTransfer: data, bubbles: true}));"
        "return data.getData('DownloadURL'); })()"
    )
    kind, file, address = dragged.split(":", 2)
    assert kind == "audio/wav" and file.endswith(".wav") and address.startswith(studio.address)


def test_own_sounds_are_opened_dropped_and_recorded(page, studio, tmp_path, forgive):
    count = page.locator(CARDS).count()
    hostile = "<img src=x onerror=alert(1)>.wav"
    soundfile.write(tmp_path / hostile, np.sin(np.arange(8000) / 20) * 0.3, 8000)
    page.set_input_files("#file", tmp_path / hostile)
    assert poll(page, SETTLED, lambda found: found == count + 1)
    assert page.locator("img").count() == 0 and (studio.folder / "own").is_dir()
    assert page.locator(CHOSEN).locator("h3").text_content() == "_img src=x onerror=alert(1)_"
    (tmp_path / "no.wav").write_bytes(b"RIFF nothing")
    page.set_input_files("#file", tmp_path / "no.wav")
    assert "cannot be read as a sound" in poll(page, "document.querySelector('.message.bad p')?.textContent")
    forgive("status of 400")
    page.locator(".message.bad").get_by_label("Close").click()
    page.click("#record")
    page.wait_for_timeout(900)
    page.click("#record")
    assert poll(page, SETTLED, lambda found: found == count + 2)
    recorded = next((studio.folder / "own").glob("recording*.wav"))
    assert soundfile.info(recorded).duration > 0.3
    page.get_by_role("tab", name="Vary").click()
    page.get_by_role("button", name="Vary", exact=True).click()
    assert "what shall be heard" in poll(page, "document.querySelector('.message.bad p')?.textContent")
    page.locator(".message.bad").get_by_label("Close").click()


def test_hostile_captions_are_shown_as_text(page, studio, forgive):
    count = page.locator(CARDS).count()
    for text in ("<script>document.title='no'</script> <b>../../x</b>", "\u202eright to left \u0007 \\..\\..\\x"):
        count += 1
        write(page, text)
        assert poll(page, SETTLED, lambda found, count=count: found == count)
        shown = text.replace("\u202e", "\ufffd").replace("\u0007", "\ufffd")
        assert page.locator(CHOSEN).locator("h3").text_content() == shown
    assert page.title() == "SoundCTM Studio" and page.locator("h3 b").count() == 0
    assert all(path.resolve().parent == studio.folder.resolve() for path in studio.folder.glob("*.wav"))
    write(page, "x" * 10_000)
    message = poll(page, "document.querySelector('.message.bad p')?.textContent")
    assert "10000 characters" in message and page.locator(CARDS).count() == count
    forgive("status of 400")
    page.locator(".message.bad").get_by_label("Close").click()


def test_a_job_outlives_a_reload_and_is_cancelled(page):
    count = page.locator(CARDS).count()
    page.fill("#seconds", "30")
    page.fill("#variants", "8")
    write(page, "wind")
    poll(page, "JSON.parse(localStorage.getItem('soundctm.open-jobs') || '[]').length")
    page.reload()
    poll(page, "document.querySelectorAll('.pending').length")
    page.locator(".pending").first.get_by_role("button", name="Cancel").click()
    poll(page, SETTLED, lambda found: found is not False)
    assert page.locator(CARDS).count() < count + 8
    poll(page, "document.querySelector('#status').dataset.state === 'ready'")


def test_another_model_is_picked(page, studio):
    count = page.locator(CARDS).count()
    page.fill("#variants", "1")
    for name, seconds in (("ckpt/checkpoint", "0.64"), ("mini", "2.56")):
        studio.until(lambda: not json.loads(studio.answer("/health"))["running"], 60, "a job does not end")
        page.select_option("#model", name)
        assert poll(page, "document.querySelector('#seconds').value", lambda value, wanted=seconds: value == wanted)
        poll(page, "document.querySelector('#status').dataset.state === 'ready'")
        write(page, "wind")
        count += 1
        assert poll(page, SETTLED, lambda found, count=count: found == count)
        assert (rows(studio)[-1]["checkpoint"], rows(studio)[-1]["seconds"]) == (name, seconds)
    page.fill("#variants", "3")


def test_nothing_serious_for_those_who_cannot_see_or_point_in_dark_light_and_narrow(page, forgive):
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert axe(page) == []
    page.keyboard.press("Escape")
    page.click("#more summary")
    assert axe(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert axe(page) == []
    page.set_viewport_size({"width": 400, "height": 800})
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert axe(page) == []
    page.click("#more summary")
    page.fill("#variants", "1")
    count = page.locator(CARDS).count()
    write(page, "rain", 5)
    assert poll(page, SETTLED, lambda found: found == count + 1)
    page.set_viewport_size({"width": 1360, "height": 860})
    forgive("Applying inline style")  # axe-core's own


def test_the_browser_asked_no_other_host(opened, studio, log):
    page, _ = opened
    page.context.browser.close()
    assert hosts_asked(log, studio.address) == {"127.0.0.1"}
