"""What every screen does: here, that no fault of a handler goes by unseen."""

from __future__ import annotations

import asyncio
import time

import pytest
from nicegui import ui
from nicegui.testing import User, user_simulation
from starlette.requests import Request

from lorafit.errors import RunError
from lorafit.studio import frame as module
from lorafit.studio.frame import button, copyable, fill, filled, frame


def page(request: Request) -> None:
    def fail() -> None:
        raise KeyError("lost <b>")

    async def refuse() -> None:
        raise RunError("The disk is full.")

    with frame(request, "Runs", "/"):
        button("fail", fail)
        button("refuse", refuse)
        copyable("text", '"><script>')


async def told(user: User, text: str) -> int:
    """How often it was said, after a while in which it may be."""
    end = time.monotonic() + 5
    while time.monotonic() < end and not any(text in message for message in user.notify.messages):
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)
    return sum(text in message for message in user.notify.messages)


def test_what_no_handler_catches_is_said_and_not_again_and_again() -> None:
    async def visit() -> None:
        async with user_simulation(page) as user:
            await user.open("/")
            for _ in range(3):
                user.find("fail").click()
            assert await told(user, "lorafit made a mistake. KeyError: 'lost <b>'") == 1
            user.find("refuse").click()
            assert await told(user, "The disk is full.") == 1

    asyncio.run(visit())


def test_a_name_is_one_attribute_whatever_is_in_it() -> None:
    async def visit() -> None:
        async with user_simulation(page) as user:
            await user.open("/")
            (label,) = user.find(content="text").elements
            assert label.props["aria-label"] == '"><script>'

    asyncio.run(visit())


def test_what_is_read_soon_goes_with_the_page_and_the_rest_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AHEAD_SECONDS", 0.1)
    late = asyncio.Event()

    async def page(request: Request) -> None:
        with frame(request, "Runs", "/"):
            box = ui.element("div")

        async def quick() -> None:
            await asyncio.sleep(0)
            ui.label("read at once")

        async def slow() -> None:
            await late.wait()
            ui.label("read later")
            raise RunError("The disk is full.")

        with box:
            fill(quick)
            fill(slow)
        await filled()

    async def visit() -> None:
        async with user_simulation(page) as user:
            sent = (await user.http_client.get("/")).text
            assert "read at once" in sent and "read later" not in sent
            await user.open("/")
            await user.should_see("read at once")
            late.set()
            assert await told(user, "The disk is full.")
            await user.should_see("read later")

    asyncio.run(visit())
