"""The routes: what is asked of which part."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from lorafit.errors import LorafitError
from lorafit.serve.answering import Answers, Exchange, prompts_of, refused_by, respond
from lorafit.serve.bodies import AdapterBody, ChatBody, CompletionBody, LoadBody, UnloadBody, check, parse
from lorafit.serve.catalogue import Catalogue, Model
from lorafit.serve.figures import CONTENT_TYPE, Figures
from lorafit.serve.guard import Guard, read_body, refusal
from lorafit.serve.limits import Limits
from lorafit.serve.refusals import Refused, unknown_model
from lorafit.serve.replies import Reply, card
from lorafit.serve.worker import Stopped, Worker

LOG = logging.getLogger(__name__)
Result = TypeVar("Result")


class Service:
    """What the routes work with; all of it in the event loop's thread, but for the worker and what is slow."""

    def __init__(self, catalogue: Catalogue, worker: Worker, limits: Limits) -> None:
        self.catalogue, self.worker, self.limits = catalogue, worker, limits
        self.figures = Figures()
        # One thread, so that a name is not looked over twice at once.
        self._slow = ThreadPoolExecutor(1, "lorafit-serve")
        self._changing = asyncio.Lock()
        engine = worker.engine
        self.longest, self.vocabulary = engine.longest, engine.model.get_input_embeddings().weight.shape[0]

    def app(self, token: str) -> Starlette:
        """The application; it starts and stops the worker."""
        routes = [
            Route("/health", self.health),
            Route("/metrics", self.metrics),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.model),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.completions, methods=["POST"]),
            Route("/v1/adapters", self.add, methods=["POST"]),
            Route("/v1/adapters/{name:path}", self.remove, methods=["DELETE"]),
            Route("/v1/load_lora_adapter", self.load, methods=["POST"]),
            Route("/v1/unload_lora_adapter", self.unload, methods=["POST"]),
        ]
        return Starlette(
            routes=routes,
            middleware=[Middleware(Guard, token=token)],
            exception_handlers={Refused: _refused, HTTPException: _not_found, Exception: _failed},
            lifespan=self._lifespan,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self.worker.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self.worker.stop)
            self._slow.shutdown()

    async def _aside(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run what is slow in another thread, so that other clients do not wait for it."""
        return await asyncio.get_running_loop().run_in_executor(self._slow, function, *arguments)

    # --------------------------------------------------------------------------------------------- completions

    async def chat(self, request: Request) -> ASGIApp:
        return await self._complete(request, ChatBody)

    async def completions(self, request: Request) -> ASGIApp:
        return await self._complete(request, CompletionBody)

    async def _complete(self, request: Request, kind: type[ChatBody] | type[CompletionBody]) -> ASGIApp:
        began, name, chat = time.monotonic(), "", kind is ChatBody
        try:
            body = parse(kind, await read_body(request, self.limits))
            check(body, self.limits)
            model = await self._model(body.model)
            name = model.name
            prompts = await self._aside(prompts_of, model, body, self.longest, self.vocabulary)
            usage_in_stream = body.stream_options is not None and body.stream_options.include_usage
            exchange = Exchange(
                model,
                Answers(model, prompts, body, self.limits),
                Reply(chat, model.name, model.renderer, body.wanted_logprobs, usage_in_stream),
                self.figures,
                began,
                began + self.limits.seconds,
            )
            return await respond(request, exchange, self.worker, bool(body.stream))
        except Refused as refused:
            self.figures.ended("chat" if chat else "completions", name, refused.status, time.monotonic() - began)
            raise

    async def _model(self, name: str) -> Model:
        """The model of a name; one from the folder of adapters is looked over when it is first asked for."""
        model = self.catalogue.get(name)
        path = None if model else self.catalogue.path_of(name)
        if model is None and path is not None:
            model = await self._put(name, path, replacing=False)
        if model is None:
            raise unknown_model(name, self.catalogue.names)
        return model

    # ------------------------------------------------------------------------------------------------- adapters

    async def add(self, request: Request) -> Response:
        body = parse(AdapterBody, await read_body(request, self.limits))
        return JSONResponse(self._card(await self._put(body.name, body.path)))

    async def load(self, request: Request) -> Response:
        body = parse(LoadBody, await read_body(request, self.limits))
        await self._put(body.lora_name, body.lora_path)
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' added successfully.")

    async def remove(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._remove(name)
        return JSONResponse({"id": name, "object": "model", "deleted": True})

    async def unload(self, request: Request) -> Response:
        body = parse(UnloadBody, await read_body(request, self.limits))
        await self._remove(body.lora_name)
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")

    async def _put(self, name: str, path: str | Path, replacing: bool = True) -> Model:
        async with self._changing:
            there = self.catalogue.get(name)
            if there is not None and not replacing:  # another request was first
                return there
            try:
                model = await self._aside(self.catalogue.look_over, name, path)
                if replacing and model.adapter is not None:
                    await self._try(model)
            except (LorafitError, ValueError) as error:  # ValueError: a path that no file can have
                raise Refused(400, str(error), "path" if replacing else "model") from None
            before = self.catalogue.put(model)
            self._drop(before)
            for remark in model.adapter.remarks if model.adapter else ():
                LOG.warning(remark)
            return model

    async def _try(self, model: Model) -> None:
        """Load it at once where there is a place, so that what is wrong with its files is told now."""
        adapter, shelf = model.adapter, self.worker.shelf

        def load() -> None:
            if adapter is not None and shelf.take(adapter):
                shelf.give_back(adapter)

        try:
            await asyncio.wrap_future(self.worker.call(load))
        except Stopped as error:
            raise refused_by(error, self.limits.seconds) from None

    async def _remove(self, name: str) -> None:
        async with self._changing:
            if (model := self.catalogue.remove(name)) is None:
                raise Refused(404, f"There is no adapter {name!r} to remove.", "name", "model_not_found")
            self._drop(model)

    def _drop(self, model: Model | None) -> None:
        adapter = model.adapter if model else None
        if adapter is not None:
            with contextlib.suppress(Stopped):
                self.worker.call(lambda: self.worker.shelf.drop_retired(adapter))

    # ------------------------------------------------------------------------------------------- what there is

    async def models(self, request: Request) -> Response:
        known = {model.name: self._card(model) for model in self.catalogue.models}
        cards = [known.get(name) or card(name, 0, name, self.catalogue.first.name) for name in self.catalogue.names]
        return JSONResponse({"object": "list", "data": cards})

    async def model(self, request: Request) -> Response:
        return JSONResponse(self._card(await self._model(request.path_params["name"])))

    def _card(self, model: Model) -> dict[str, Any]:
        parent = self.catalogue.first.name if model.adapter else None
        return card(model.name, model.since, str(model.folder or model.name), parent)

    async def health(self, request: Request) -> Response:
        alive = self.worker.alive
        return JSONResponse({"status": "ok" if alive else "stopping"}, 200 if alive else 503)

    async def metrics(self, request: Request) -> Response:
        worker, shelf = self.worker, self.worker.shelf
        now = {
            "lorafit_running": ("gauge", "Answers being decoded.", float(worker.running)),
            "lorafit_waiting": ("gauge", "Answers that wait for a place.", float(worker.waiting)),
            "lorafit_steps_total": ("counter", "Steps of the engine.", float(worker.engine.steps)),
            "lorafit_adapters_known": (
                "gauge",
                "Adapters that can be asked for.",
                float(len(self.catalogue.names) - 1),
            ),
            "lorafit_adapters_loaded": ("gauge", "Adapters in memory.", float(len(shelf))),
            "lorafit_adapter_loads_total": ("counter", "Adapters read from disk.", float(shelf.loads)),
            "lorafit_adapter_load_seconds_total": ("counter", "Time taken by that.", shelf.load_seconds),
            "lorafit_adapter_evictions_total": ("counter", "Adapters given up for others.", float(shelf.evictions)),
        }
        return Response(self.figures.text(now), media_type=CONTENT_TYPE)


Handler = Callable[[Request, Exception], Awaitable[Response]]


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return refusal(error)


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(Refused(error.status_code, f"{request.method} {request.url.path}: {error.detail}."))


async def _failed(request: Request, error: Exception) -> Response:
    return refusal(Refused(500, "Something went wrong; the server's log says what."))
