"""The web application: every address and the screen behind it, within the guard."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from urllib.parse import unquote_plus

import uvicorn
from fastapi import FastAPI
from fastapi.exception_handlers import http_exception_handler
from nicegui import Client, ui
from nicegui import app as nicegui_app
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lorafit.errors import LorafitError
from lorafit.studio.download import routes
from lorafit.studio.frame import button, filled, frame, notice
from lorafit.studio.guard import StudioGuard
from lorafit.studio.pages import (
    chat,
    compare,
    export,
    home,
    new_data,
    new_model,
    new_plan,
    new_review,
    new_settings,
    result,
    run,
    study,
)
from lorafit.studio.refusal import StudioError
from lorafit.studio.studio import Studio
from lorafit.studio.words import t, t_core

# Who watches a run on a page wants to see answers change; the command line's own default is none.
WATCHED = {"evaluate.while_training": 3}
STEPS: dict[str, Callable[..., None]] = {
    "model": new_model.show,
    "data": new_data.show,
    "settings": new_settings.show,
    "plan": new_plan.show,
    "review": new_review.show,
}


def make_app(studio: Studio, token: str = "") -> FastAPI:
    """One a process: NiceGUI keeps its pages in the module."""

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        tending = asyncio.create_task(studio.chats.tend())
        looking = asyncio.create_task(_first_look(studio))
        try:
            yield
        finally:
            tending.cancel()
            looking.cancel()
            studio.chats.close()
            studio.desk.close()

    app = FastAPI(
        middleware=[Middleware(StudioGuard, token=token)],
        lifespan=life,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.router.routes.extend(routes(studio.workspace))
    _pages(studio)
    ui.run_with(app, title="lorafit", favicon="🎛️", dark=None, tailwind=False, reconnect_timeout=10.0)
    return app


def make_server(studio: Studio, token: str = "") -> uvicorn.Server:
    config = uvicorn.Config(
        make_app(studio, token),
        log_config=None,
        access_log=False,  # its lines would hold a token that somebody opens the page with
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    return uvicorn.Server(config)


async def _first_look(studio: Studio) -> None:
    """The queue goes on, and what the first screen has to read is read."""
    with contextlib.suppress(LorafitError, OSError):  # the first screen looks again, and says so
        await asyncio.to_thread(home.look, studio)


def _pages(studio: Studio) -> None:
    async def screen(request: Request, title: str, here: str, build: Callable[[], object]) -> None:
        with frame(request, title, here):
            try:
                build()
            except (LorafitError, OSError) as error:  # OSError: the workspace is gone
                notice(t_core(str(error)), "fault")
                button(t("Back to the runs"), lambda: ui.navigate.to("/"))
        await filled()

    @ui.page("/")
    async def _home(request: Request) -> None:
        await screen(request, "Runs", "/", lambda: home.show(studio))

    @ui.page("/new")
    async def _new(request: Request) -> RedirectResponse | None:
        try:
            draft = studio.drafts.new(WATCHED)
        except LorafitError as error:  # the disk is full
            said = str(error)
            await screen(request, "New run", "/new", lambda: notice(t_core(said), "fault"))
            return None
        return RedirectResponse(f"/new/{draft.id}/model", status_code=303)

    @ui.page("/new/{draft}/{step}")
    async def _step(request: Request, draft: str, step: str) -> None:
        def build() -> None:
            if step not in STEPS:
                raise StudioError(t("This page is not there."))
            STEPS[step](studio, studio.drafts.open(draft))

        await screen(request, "New run", "/new", build)

    @ui.page("/run/{name}")
    async def _run(request: Request, name: str) -> None:
        await screen(request, name, "/", lambda: run.show(studio, name))

    @ui.page("/result/{name}")
    async def _result(request: Request, name: str) -> None:
        await screen(request, name, "/", lambda: result.show(studio, name))

    @ui.page("/compare")
    async def _compare(request: Request) -> None:
        await screen(request, "Compare", "/", lambda: compare.show(studio, _names(request)))

    @ui.page("/study/{path:path}")
    async def _study(request: Request, path: str) -> None:
        await screen(request, path, "/", lambda: study.show(studio, path))

    @ui.page("/chat")
    async def _chat(request: Request) -> None:
        await screen(request, "Chat", "/chat", lambda: chat.show(studio, _names(request)))

    @ui.page("/export/{name}")
    async def _export(request: Request, name: str) -> None:
        await screen(request, name, "/", lambda: export.show(studio, name))

    @nicegui_app.exception_handler(404)
    async def _nowhere(request: Request, error: HTTPException) -> Response:
        if request.scope.get("endpoint") not in (None, nicegui_app):  # a file that NiceGUI was asked for
            return await http_exception_handler(request, error)

        def build() -> None:
            raise StudioError(t("This page is not there."))

        with Client(ui.page(""), request=request) as client:
            await screen(request, "This page is not there.", "", build)
        return client.build_response(request, 404)


def _names(request: Request) -> list[str]:
    """Of `?runs=a,b`. A name may have a comma, which is encoded, unlike those between names."""
    found = re.search(r"(?:^|&)runs=([^&]*)", request.url.query)
    return [unquote_plus(name) for name in found[1].split(",") if name] if found else []
