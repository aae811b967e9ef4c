"""What NiceGUI's simulated user sees, and waits for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from nicegui import ElementFilter
from nicegui.testing import User


async def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.02)


def shows(user: User, text: str) -> bool:
    with user:
        return any(True for _ in ElementFilter(content=text, only_visible=True, local_scope=False))
