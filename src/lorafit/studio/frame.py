"""What every screen stands in: the head with the ways to the others, theme, language; and the small parts they share.

Everything that users or models wrote is shown through labels, which the browser never takes for HTML.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from nicegui import background_tasks, context, ui
from starlette.requests import Request

from lorafit.errors import LorafitError
from lorafit.studio.words import COOKIE, LANGUAGES, language, preferred, t, t_core

THEME_COOKIE = "lorafit-theme"
AGAIN_SECONDS = 30.0
AHEAD_SECONDS = 0.5
STYLE = Path(__file__).parent / "style.css"
# (path, words, icon) of the head's links.
LINKS = (("/", "Runs", "list_alt"), ("/new", "New run", "add_circle"), ("/chat", "Chat", "forum"))
STATES = {
    "queued": "dim", "planning": "one", "running": "one", "interrupted": "warn", "failed": "bad", "finished": "good",
    "done": "good", "dead": "bad", "cancelled": "dim",
}  # fmt: skip


@contextlib.contextmanager
def frame(request: Request, title: str, here: str = "") -> Iterator[None]:
    """A screen. title: in English, of the browser's tab; here: the path of the link that is marked."""
    storage = context.client.storage
    storage["language"] = preferred(request.cookies.get(COOKIE), request.headers.get("accept-language", ""))
    theme = request.cookies.get(THEME_COOKIE)
    ui.dark_mode({"dark": True, "light": False}.get(theme or ""))
    _say_faults()
    ui.page_title(f"{t(title)} · lorafit")
    ui.add_css(STYLE)
    ui.colors(primary="#2a6fd0", positive="#157347", negative="#c02b2b", warning="#9a6200")
    ui.run_javascript(f"document.documentElement.lang = {language()!r}")
    ui.link(t("Skip to the content"), "#content").classes("skip")
    with ui.header(elevated=False).classes("head"):
        ui.link("lorafit", "/").classes("brand")
        with ui.element("nav").props(f'aria-label="{t("Menu")}"'):
            for path, words, icon in LINKS:
                with ui.link(target=path).classes("way") as link:
                    ui.icon(icon).props("aria-hidden=true")
                    ui.label(t(words)).classes("way-words")
                if path == here:
                    link.classes("here").props("aria-current=page")
        ui.space()
        _theme_button()
        _language_button()
    with ui.element("div").props("id=content").classes("content"):
        yield


def fill(work: Callable[[], Awaitable[None]]) -> None:
    """Begin to fill a part of the screen with what has to be read first: see `filled`."""
    task = background_tasks.create(work(), name="fill", context=context.slot)
    context.client.storage.setdefault("fills", []).append(task)


def follow(look: Callable[[], Awaitable[None]], seconds: float) -> ui.timer:
    """`fill`, and look again every so many seconds."""
    fill(look)
    return ui.timer(seconds, look, immediate=False)


async def filled() -> None:
    """What has been read by now goes with the page itself, which saves the reader a second; the rest follows it."""
    if fills := context.client.storage.pop("fills", []):
        await asyncio.wait(fills, timeout=AHEAD_SECONDS)


def _say_faults() -> None:
    """What no handler catches is said on the page: else a button would seem to do nothing. Of what comes again and
    again, as from a timer, once in a while."""
    said: dict[str, float] = {}

    def say(error: Exception) -> None:
        kind = f"{type(error).__name__}: {error}"
        text = t("lorafit made a mistake. {error}. More is in the terminal of the studio.", error=kind)
        text = t_core(str(error)) if isinstance(error, LorafitError) else text
        if time.monotonic() - said.get(text, -AGAIN_SECONDS) >= AGAIN_SECONDS:
            said[text] = time.monotonic()
            ui.notify(text, type="negative", multi_line=True, timeout=10_000, close_button=t("Close"))

    ui.on_exception(say)


def _theme_button() -> None:
    button = ui.button(icon="contrast").props(f'flat round dense aria-label="{t("Light or dark")}"')
    button.classes("quiet").tooltip(t("Light or dark"))
    button.on(
        "click",
        js_handler=f"""() => {{
            const dark = !document.body.classList.contains('body--dark');
            document.cookie = `{THEME_COOKIE}=${{dark ? 'dark' : 'light'}};path=/;max-age=31536000;samesite=strict`;
            location.reload();
        }}""",
    )


def _language_button() -> None:
    other = next(code for code in LANGUAGES if code != language())
    button = ui.button(LANGUAGES[other]).props(f'flat dense no-caps lang={other} aria-label="{LANGUAGES[other]}"')
    button.classes("quiet")
    button.on(
        "click",
        js_handler=f"""() => {{
            document.cookie = '{COOKIE}={other};path=/;max-age=31536000;samesite=strict';
            location.reload();
        }}""",
    )


@contextlib.contextmanager
def card(title: str = "", note: str = "") -> Iterator[ui.element]:
    """A section with a head; title and note in the reader's language already."""
    with ui.element("section").classes("card") as section:
        if title:
            with ui.row().classes("card-head"):
                heading(title)
                if note:
                    ui.label(note).classes("dim")
        yield section


def heading(text: str, level: int = 2) -> ui.element:
    """A heading that a screen reader knows as one."""
    label = ui.label(text).classes(f"h{level}")
    label.props(f"role=heading aria-level={level}")
    return label


def state_chip(state: str) -> ui.label:
    """The state of a run or job, coloured."""
    return ui.label(t(state)).classes(f"state {STATES.get(state, 'dim')}")


def notice(text: str, kind: str = "note", remedy: str = "") -> ui.element:
    """A sentence that stands out. kind: note, warning, fault or ok."""
    with ui.element("div").classes(f"notice {kind}").props(f"role={'alert' if kind == 'fault' else 'note'}") as box:
        ui.label(text).classes("said")
        if remedy:
            ui.label(remedy).classes("remedy")
    return box


def tile(name: str, value: str, note: str = "") -> ui.label:
    """A figure with its name; gives the label of the value, to be changed."""
    with ui.element("div").classes("tile"):
        ui.label(name).classes("dim")
        shown = ui.label(value).classes("figure")
        if note:
            ui.label(note).classes("dim small")
    return shown


def main_button(text: str, on_click: Callable[..., Any], icon: str | None = None) -> ui.button:
    """The one thing to do next."""
    return ui.button(text, on_click=on_click, icon=icon).props("unelevated no-caps color=primary").classes("main")


def button(text: str, on_click: Callable[..., Any], icon: str | None = None) -> ui.button:
    return ui.button(text, on_click=on_click, icon=icon).props("outline no-caps").classes("plain")


def copyable(text: str, name: str) -> None:
    """Text in fixed width with a button that copies it. name: what it is, for who cannot see it."""
    with ui.element("div").classes("copyable"):
        ui.label(text).classes("code").props("tabindex=0 role=region").props["aria-label"] = name

        def copy() -> None:
            ui.clipboard.write(text)
            ui.notify(t("Copied"))

        ui.button(icon="content_copy", on_click=copy).props(f'flat round dense aria-label="{t("Copy")}"')
