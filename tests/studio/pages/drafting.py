"""What the tests of a new run's pages share: a desk that answers at once, and a simulated user on one page."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from nicegui.testing import User, user_simulation
from starlette.requests import Request

from lorafit.studio.drafts import Draft, Drafts
from lorafit.studio.frame import frame
from lorafit.studio.queue import Queue
from lorafit.studio.refusal import StudioError
from lorafit.studio.runs import Runs
from lorafit.studio.studio import Studio
from lorafit.studio.words import COOKIE
from lorafit.studio.workspace import Workspace

GB = 10**9
SOURCE = {"name": "LoRA", "where": "arXiv 2106.09685", "says": "rank 16 was enough"}


def advice(**values: Any) -> dict[str, Any]:
    """As Advice.to_json() gives it; values: of settings, `adapter__rank=8`."""
    settings = {"model.name": "builtin", "model.quantization": "none", "data.train": "builtin", "adapter.rank": 8,
                "adapter.alpha": 16.0, "train.learning_rate": 0.004, "train.epochs": 3.0}  # fmt: skip
    settings |= {name.replace("__", "."): value for name, value in values.items()}
    method = {"model": "builtin", "name": "lora", "verdict": "yes", "needed": GB, "budget": 8 * GB, "trained": 9,
              "tokens": 900, "seconds": {"low": 1.0, "high": 3.0}, "pace": 1.0, "recompute": "none",
              "tokens_per_pass": 900, "chosen": True}  # fmt: skip
    return {
        "task": {"name": "assistant", "words": "answers to instructions", "why": "they look like it"},
        "device": "this CPU",
        "choice": "LoRA, as it fits.",
        "run": "198 updates",
        "settings": [
            {"key": key, "value": value, "reason": f"because of {key}", "source": SOURCE}
            for key, value in settings.items()
        ],
        "methods": [method, {**method, "name": "full", "verdict": "no", "seconds": None, "chosen": False}],
        "warnings": ["<b>few</b> rows"],
        "notes": [],
    }


def plan(verdict: str = "yes", needed: int = 2 * GB, **more: Any) -> dict[str, Any]:
    """As Desk.plan gives it."""
    return {
        "model": "builtin",
        "device": "this CPU",
        "method": "LoRA",
        "settings": {"dtype": "bfloat16", "tokens_per_pass": 2048, "recompute": "none", "optimizer": "adamw"},
        "verdict": verdict,
        "needed": needed,
        "budget": 8 * GB,
        "parts": {"base weights": needed // 2, "activations": needed - needed // 2},
        "trained": 1000,
        "parameters": 50000,
        "tokens": 900,
        "updates": 198,
        "update_seconds": {"low": 1.0, "high": 2.0},
        "run_seconds": [198.0, 396.0],
        "paged": 0,
        "host": 0,
        "assumptions": ["sixteen examples"],
        "notes": [],
        **more,
    }


class Desk:
    """plans: answers one after the other, the last again and again; an error is raised. slow: seconds for one."""

    def __init__(self, plans: list[Any] | None = None, advised: Any = None) -> None:
        self.plans, self.advised = plans or [plan()], advised or advice()
        self.asked: list[tuple[Any, ...]] = []
        self.slow = 0.0

    async def plan(self, recipe: dict[str, Any], gpu: str, changes: bool, of: str) -> dict[str, Any]:
        self.asked.append(("plan", recipe, gpu, changes))
        found = self.plans.pop(0) if len(self.plans) > 1 else self.plans[0]
        await asyncio.sleep(self.slow)
        if isinstance(found, StudioError):
            raise found
        return {**found, "changes": found.get("changes", [])} if changes else found

    async def advice(self, model: str, data: Any, gpu: str, task: str | None) -> dict[str, Any]:
        self.asked.append(("advice", model, data, gpu, task))
        await asyncio.sleep(0.01)
        if isinstance(self.advised, StudioError):
            raise self.advised
        return dict(self.advised)

    def planned(self) -> list[dict[str, Any]]:
        """The recipes that a plan was asked for."""
        return [asked[1] for asked in self.asked if asked[0] == "plan"]


def studio_in(folder: Path, desk: Desk) -> Studio:
    """A studio whose jobs print `ran` instead of training."""
    workspace = Workspace(folder)
    queue = Queue(workspace)
    queue.command = ("true",)
    stand_in: Any = desk
    chats: Any = None
    return Studio(workspace, Runs(workspace), queue, Drafts(workspace), stand_in, chats)


@contextlib.asynccontextmanager
async def seen(
    show: Callable[[Studio, Draft], None], studio: Studio, draft: Draft, language: str = "en"
) -> AsyncIterator[User]:
    """A user who has opened the page."""

    def root(request: Request) -> None:
        with frame(request, "New run", "/new"):
            show(studio, draft)

    async with user_simulation(root) as user:
        user.http_client.cookies.set(COOKIE, language)
        await user.open("/")
        yield user


def element(user: User, marker: str) -> Any:
    """The one element that is marked so."""
    (found,) = user.find(marker=marker).elements
    return found


async def write(user: User, marker: str, value: Any) -> None:
    """Put a value into a field, as the browser does."""
    with user:
        element(user, marker).set_value(value)
    await asyncio.sleep(0)
