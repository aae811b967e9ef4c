"""The web application: every address and the screen behind it, within the guard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import uvicorn
from fastapi import FastAPI
from nicegui import ui
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse

from lorafit.errors import LorafitError
from lorafit.studio.download import routes
from lorafit.studio.frame import button, frame, notice
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
from lorafit.studio.words import t

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
        studio.queue.carry_on()
        tending = asyncio.create_task(studio.chats.tend())
        try:
            yield
        finally:
            tending.cancel()
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


def _pages(studio: Studio) -> None:
    def screen(request: Request, title: str, here: str, build: Callable[[], None]) -> None:
        with frame(request, title, here):
            try:
                build()
            except LorafitError as error:
                notice(str(error), "fault")
                button(t("Back to the runs"), lambda: ui.navigate.to("/"))

    @ui.page("/")
    def _home(request: Request) -> None:
        screen(request, "Runs", "/", lambda: home.show(studio))

    @ui.page("/new")
    def _new() -> RedirectResponse:
        return RedirectResponse(f"/new/{studio.drafts.new().id}/model", status_code=303)

    @ui.page("/new/{draft}/{step}")
    def _step(request: Request, draft: str, step: str) -> None:
        def build() -> None:
            if step not in STEPS:
                raise StudioError(t("This page is not there."))
            STEPS[step](studio, studio.drafts.open(draft))

        screen(request, "New run", "/new", build)

    @ui.page("/run/{name}")
    def _run(request: Request, name: str) -> None:
        screen(request, name, "/", lambda: run.show(studio, name))

    @ui.page("/result/{name}")
    def _result(request: Request, name: str) -> None:
        screen(request, name, "/", lambda: result.show(studio, name))

    @ui.page("/compare")
    def _compare(request: Request, runs: str = "") -> None:
        screen(request, "Compare", "/", lambda: compare.show(studio, _names(runs)))

    @ui.page("/study/{path:path}")
    def _study(request: Request, path: str) -> None:
        screen(request, path, "/", lambda: study.show(studio, path))

    @ui.page("/chat")
    def _chat(request: Request, runs: str = "") -> None:
        screen(request, "Chat", "/chat", lambda: chat.show(studio, _names(runs)))

    @ui.page("/export/{name}")
    def _export(request: Request, name: str) -> None:
        screen(request, name, "/", lambda: export.show(studio, name))


def _names(joined: str) -> list[str]:
    return [name for name in joined.split(",") if name]
