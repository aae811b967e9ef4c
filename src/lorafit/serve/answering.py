"""One request for a completion, from its body to its reply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lorafit.errors import DataError, LorafitError
from lorafit.infer.engine import Completion, Request
from lorafit.serve.bodies import ChatBody, CompletionBody
from lorafit.serve.catalogue import Model
from lorafit.serve.figures import Figures
from lorafit.serve.limits import Limits
from lorafit.serve.refusals import Refused
from lorafit.serve.replies import Reply, Trimmed, event, usage
from lorafit.serve.worker import Job, QueueFull, Stopped, Worker

GONE = 499  # as nginx counts a client that went away
# An answer whose length nobody limits.
CHAT_TOKENS = 512
# How long the last bytes may take to a client that reads slowly, after the time of its request is up.
GRACE = 10.0
News = tuple[int, str | Completion | Exception]


class Answers:
    """The choices of one request on their way; `news` says what comes of each, by its number."""

    def __init__(self, model: Model, prompts: Sequence[Sequence[int]], body: ChatBody | CompletionBody, limits: Limits):
        self.prompts = prompts
        self._queue: asyncio.Queue[News] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        chat = isinstance(body, ChatBody)
        stops = body.stops + (model.renderer.template.stops if chat else ())
        wanted = body.wanted_tokens or min(CHAT_TOKENS, limits.tokens)
        self.jobs = [
            Job(
                Request(
                    prompts[number // body.choices],
                    wanted,
                    model.fixed,
                    sampling=body.sampling(number % body.choices),
                    stop_ids=frozenset(model.renderer.stop_ids),
                    stop=stops,
                    logprobs=body.wanted_logprobs,
                    on_text=self._teller(number) if body.stream else None,
                ),
                model.adapter,
                self._teller(number),
            )
            for number in range(len(prompts) * body.choices)
        ]

    def _teller(self, number: int) -> Callable[[str | Completion | Exception], None]:
        def tell(news: str | Completion | Exception) -> None:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, (number, news))

        return tell

    async def news(self, until: float) -> AsyncIterator[tuple[int, str | Completion]]:
        """Pieces of text, and each choice's completion. Raises what went wrong with any of them, TimeoutError when
        it is later than `until`."""
        left = len(self.jobs)
        while left:
            async with asyncio.timeout(until - time.monotonic()):
                number, news = await self._queue.get()
            if isinstance(news, Exception):
                raise news
            left -= isinstance(news, Completion)
            yield number, news

    async def whole(self, until: float) -> list[Completion]:
        found = {number: news async for number, news in self.news(until) if isinstance(news, Completion)}
        return [found[number] for number in range(len(self.jobs))]

    def cancel(self) -> None:
        for job in self.jobs:
            job.cancel()


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one request and its reply are made of. began, until: by the event loop's clock."""

    model: Model
    answers: Answers
    reply: Reply
    figures: Figures
    began: float
    until: float

    @property
    def endpoint(self) -> str:
        return "chat" if self.reply.chat else "completions"

    def ended(self, status: int) -> None:
        self.figures.ended(self.endpoint, self.model.name, status, time.monotonic() - self.began)
        self.figures.cancelled += status == GONE

    def usage(self, completions: Sequence[Completion]) -> dict[str, Any]:
        counted = usage(self.answers.prompts, completions)
        self.figures.counted(self.model.name, counted)
        return counted


def refused_by(error: Exception, seconds: float) -> Refused:
    """What a client is told of something that went wrong on the way."""
    if isinstance(error, TimeoutError):
        return Refused(504, f"The answer was not ready within {seconds:g} seconds.", code="timeout")
    if isinstance(error, QueueFull):
        return Refused(429, "Too many requests wait already: try again later.", headers={"Retry-After": "1"})
    if isinstance(error, Stopped):
        return Refused(503, "The server is shutting down.", headers={"Retry-After": "10"})
    if isinstance(error, LorafitError):
        return Refused(400, str(error))
    return Refused(500, "The answer could not be computed; the server's log says why.")


def prompts_of(model: Model, body: ChatBody | CompletionBody, longest: int | None, vocabulary: int) -> list[list[int]]:
    """Token ids to go on from, by the model's own template. Slow for long ones, and safe in another thread.

    Raises Refused for what cannot be rendered, is empty, or does not fit the model.
    """
    renderer = model.renderer
    if isinstance(body, ChatBody):
        try:
            prompts = [renderer.prompt_ids([turn.message() for turn in body.messages])]
        except DataError as error:
            raise Refused(400, str(error), "messages") from None
    else:
        prompts = [
            list(each) if isinstance(each, list) else renderer.tokenizer(each, verbose=False).input_ids
            for each in body.prompts
        ]
    field = "messages" if isinstance(body, ChatBody) else "prompt"
    for prompt in prompts:
        if not prompt:
            raise Refused(400, f"{field}: empty, there is nothing to go on from.", field)
        if not all(0 <= token < vocabulary for token in prompt):
            raise Refused(400, f"{field}: token ids are from 0 to {vocabulary - 1} in this model.", field)
        if longest is not None and len(prompt) >= longest:
            raise Refused(
                400,
                f"This model takes {longest} tokens, the answer included; {field} has {len(prompt)}.",
                field,
                "context_length_exceeded",
            )
    return prompts


async def respond(http: HttpRequest, exchange: Exchange, worker: Worker, stream: bool) -> ASGIApp:
    """The reply to a request whose prompts are ready. Raises Refused."""
    limit = exchange.until - exchange.began
    try:
        worker.submit(exchange.answers.jobs)
    except (QueueFull, Stopped) as error:
        raise refused_by(error, limit) from None
    if stream:
        return _Stream(exchange)
    answering = asyncio.ensure_future(exchange.answers.whole(exchange.until))
    leaving = asyncio.ensure_future(_gone(http.receive))
    try:
        done, _ = await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if answering not in done:
            exchange.ended(GONE)
            return Response(status_code=GONE)  # nobody reads it
        completions = answering.result()
        content = exchange.reply.whole(completions, exchange.usage(completions))
        exchange.ended(200)
        return JSONResponse(content)
    except Exception as error:
        raise refused_by(error, limit) from error
    finally:
        exchange.answers.cancel()
        answering.cancel()
        leaving.cancel()


async def _gone(receive: Receive) -> None:
    """Until the client goes away."""
    while (await receive())["type"] != "http.disconnect":
        pass


class _Stream:
    """A reply as server-sent events, an ASGI application by itself."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.status = GONE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writing, leaving = asyncio.ensure_future(self._write(send)), asyncio.ensure_future(_gone(receive))
        try:
            # A client that does not read holds up its own connection alone, and that not for ever.
            left = self.exchange.until - time.monotonic() + GRACE
            done, _ = await asyncio.wait({writing, leaving}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if writing in done:
                writing.result()
        finally:
            self.exchange.answers.cancel()
            writing.cancel()
            leaving.cancel()
            self.exchange.ended(self.status)

    async def _write(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for part in self._events():
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._parts():
                yield part
        except Exception as error:  # noqa: BLE001  the headers are sent: it can only be told within the stream
            refused = refused_by(error, self.exchange.until - self.exchange.began)
            self.status = refused.status
            yield event(refused.content)
            return
        yield event("[DONE]")
        self.status = 200

    async def _parts(self) -> AsyncIterator[bytes]:
        exchange, reply = self.exchange, self.exchange.reply
        trimmed = [Trimmed() for _ in exchange.answers.jobs]
        completions: list[Completion] = []
        silent = True
        if reply.chat:
            for number in range(len(trimmed)):
                yield reply.first(number)
        async for number, news in exchange.answers.news(exchange.until):
            if isinstance(news, Completion):
                completions.append(news)
                yield reply.last(number, news)
            elif text := trimmed[number].push(news) if reply.chat else news:
                if silent:
                    silent = False
                    exchange.figures.first_piece.add(time.monotonic() - exchange.began)
                yield reply.piece(number, text)
        counted = exchange.usage(completions)
        if reply.usage_in_stream:
            yield reply.usage(counted)
