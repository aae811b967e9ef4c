"""The studio as a person uses it, in a headless Chromium, over real runs of the built-in base."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect
from safetensors import safe_open

from lorafit.run import RunFolder, read_json, write_json
from tests.studio.browser import StudioProcess, browser, start_studio

__all__ = ["browser", "start_studio"]  # fixtures

# Beside other tests on two cores; what is waited for takes a fraction of it.
PATIENCE = 60_000
STREETS = ("Oak", "Elm", "Ash", "Fir")
ROWS = [
    {"instruction": f"Where is {n}?", "input": "", "output": f"Person {n} lives on {STREETS[n % 4]} Street."}
    for n in range(60)
]


@pytest.fixture
def page(browser: Any) -> Any:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US", accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield context.new_page()
    context.close()


class Clicks:
    """A first-time user's path: every click is counted."""

    def __init__(self, page: Page) -> None:
        self.page, self.count = page, 0

    def button(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).first.click()
        self.count += 1


def test_from_a_file_to_a_chat_and_an_export(
    page: Page, start_studio: Callable[..., StudioProcess], tmp_path: Path
) -> None:
    """Alpaca file, run, page closed and opened, studio killed and started, before/after, chat, export; eight clicks."""
    studio = start_studio()
    file = tmp_path / "streets.json"
    file.write_text(json.dumps(ROWS))

    page.goto(studio.url)
    clicks = Clicks(page)
    clicks.button("New run")
    page.wait_for_url("**/model")
    page.get_by_role("button", name=re.compile("^Built-in")).click()
    clicks.count += 1
    clicks.button("Next: Data")
    page.wait_for_url("**/data")
    with page.expect_file_chooser() as chooser:
        clicks.button("Choose a file …")
    chooser.value.set_files(file)
    expect(page.get_by_text("Samples, as the model sees them")).to_be_visible()
    expect(page.locator(".trained").first).to_be_visible()
    clicks.button("Next: Settings")
    page.wait_for_url("**/settings")
    expect(page.get_by_text("as advised").first).to_be_visible()
    clicks.button("Next: Plan")
    page.wait_for_url("**/plan")
    expect(page.get_by_text(re.compile("^Fits on")).first).to_be_visible()
    clicks.button("Next: Review")
    page.wait_for_url("**/review")
    clicks.button("Start")
    page.wait_for_url("**/run/*")
    assert clicks.count <= 8

    name = page.url.rpartition("/")[2]
    run = RunFolder(studio.folder / "runs" / name)
    page.close()  # in the middle; the run does not mind
    page = page.context.new_page()
    page.goto(studio.url)
    expect(page.get_by_text(name).first).to_be_visible()
    studio.kill()
    with page.expect_event("load"):  # the open page finds the studio again by itself
        studio.start()
    other = page.context.new_page()
    for one in (page, other):  # two pages at once
        one.goto(f"{studio.url}/run/{name}")
    for one in (page, other):
        expect(one.locator(".state").first).to_have_text("finished")
    other.close()
    assert read_json(run.status)["state"] == "finished"
    expect(page.get_by_role("img", name="Loss")).to_be_visible()

    page.goto(f"{studio.url}/result/{name}")
    expect(page.get_by_role("heading", name="Before and after")).to_be_visible()
    expect(page.get_by_text("Where is").first).to_be_visible()

    page.goto(f"{studio.url}/chat?runs=base,{name}")
    question = page.get_by_label("Your question")
    question.fill("Where is 3?")
    question.press("Enter")
    expect(page.get_by_text(re.compile(r"lives on \w+ Street")).first).to_be_visible()

    page.goto(f"{studio.url}/export/{name}")
    page.get_by_role("button", name="Export: Whole model", exact=True).click()
    link = page.get_by_role("link", name=re.compile("Download")).first
    with page.expect_download() as download:
        link.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        (weights,) = [one for one in archive.namelist() if one.endswith(".safetensors")]
        archive.extract(weights, tmp_path)
    with safe_open(tmp_path / weights, "pt") as tensors:
        assert "model.embed_tokens.weight" in tensors.keys()


def test_a_wrong_file_is_said_and_the_draft_stays(
    page: Page, start_studio: Callable[..., StudioProcess], tmp_path: Path
) -> None:
    studio = start_studio()
    wrong = tmp_path / "wrong.json"
    wrong.write_text('[{"instruction": "Say <b>yes</b>.", "output": "Yes."}, {"nothing": "of use"')
    page.goto(f"{studio.url}/new")
    page.get_by_role("button", name=re.compile("^Built-in")).click()
    page.goto(page.url.replace("/model", "/data"))
    page.set_input_files("input[type=file]", wrong)
    expect(page.locator(".notice.fault").first).to_contain_text("wrong.json")
    page.reload()
    expect(page.get_by_text("wrong.json").first).to_be_visible()
    page.goto(page.url.replace("/data", "/model"))
    expect(page.get_by_text("builtin").first).to_be_visible()


def test_a_plan_that_does_not_fit_is_said_before_the_start(
    page: Page, start_studio: Callable[..., StudioProcess]
) -> None:
    """On another device than this; on a larger one it fits."""
    studio = start_studio()
    page.goto(f"{studio.url}/new")
    page.get_by_role("button", name=re.compile("^Built-in")).click()
    page.goto(page.url.replace("/model", "/data"))
    page.get_by_role("button", name=re.compile("^Built-in")).click()
    page.get_by_role("button", name="Next: Settings", exact=True).click()
    page.goto(page.url.replace("/data", "/plan").replace("/settings", "/plan"))
    device = page.get_by_role("combobox", name="Device")
    device.fill("cpu 0.3GB")
    device.press("Enter")
    said = page.locator(".plan-verdict").first
    expect(said).to_contain_text("Does not fit")
    device.fill("24GB")
    device.press("Enter")
    expect(said).to_contain_text("Fits on")


TAKE = "window.taken=1"
EVIL = f'<img src=x onerror="{TAKE}"><script>{TAKE}</script>{{{{constructor.constructor("{TAKE}")()}}}}'


def test_what_files_hold_is_text_and_never_html(page: Page, start_studio: Callable[..., StudioProcess]) -> None:
    studio = start_studio()
    run = RunFolder.create(studio.folder / "runs" / "evil <b>'run'")
    run.evaluation.mkdir()
    run.recipe.write_text(json.dumps({"name": EVIL[:30], "model": {"name": EVIL}, "data": {"train": EVIL}}))
    write_json(run.status, {"state": "finished", "update": 1, "updates": 1, "message": EVIL, "heartbeat": 0})
    run.metrics.write_text('{"update": 1, "loss": 2.0}\n')
    finding = dict.fromkeys(("symptom", "title", "evidence", "cause", "remedy", "setting"), EVIL)
    write_json(run.findings, {"findings": [{"severity": "fault", **finding}]})
    answer = {"text": EVIL, "ended": True, "token_f1": 0.5}
    sample = {"prompt": [{"role": "user", "content": EVIL}], "reference": EVIL, "base": answer, "tuned": answer}
    (run.evaluation / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    scored = {"token_f1": {"mean": 0.5, "low": 0.4, "high": 0.6}}
    write_json(run.evaluation / "scores.json", {"prompts": 1, "scores": {"base": scored, "tuned": scored}})
    (studio.folder / "uploads").mkdir(exist_ok=True)
    (studio.folder / "uploads" / "evil.json").write_text(json.dumps([{"instruction": EVIL, "output": EVIL}] * 3))
    name = quote(run.path.name)
    for path in ("/", f"/run/{name}", f"/result/{name}", f"/export/{name}", f"/compare?runs={name},{name}", "/chat"):
        page.goto(studio.url + path)
        page.wait_for_timeout(1500)
        assert page.evaluate("window.taken") is None, path
        if path.startswith(("/run", "/result")):
            expect(page.get_by_text("<img src=x").first).to_be_visible()
    page.goto(f"{studio.url}/new")
    page.get_by_role("button", name=re.compile("^Built-in")).click()
    page.goto(page.url.replace("/model", "/data"))
    page.get_by_role("button", name=re.compile("^evil.json")).click()
    expect(page.locator(".trained", has_text="<img src=x").first).to_be_visible()
    assert page.evaluate("window.taken") is None
