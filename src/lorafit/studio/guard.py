"""Who may use the studio: its token, and that no page of another place speaks through the user's browser.

It stands before NiceGUI, whose websocket would take anybody's (`cors_allowed_origins='*'`).
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from lorafit.serve.guard import check_loopback
from lorafit.serve.refusals import Refused
from lorafit.studio.login import login_page
from lorafit.studio.words import COOKIE as LANGUAGE_COOKIE
from lorafit.studio.words import preferred
from lorafit.studio.workspace import UPLOAD_BYTES

LOGIN = "/login"
TOKEN = "token"  # the parameter of an address, and the field of the form
WAIT_SECONDS = 0.5  # after the first wrong token, then as many times that as there were wrong ones
LONGEST_WAIT = 5.0
WAITING = 8  # who wants to try a token at once
_LOGIN_BYTES = 4096
_FORM_BYTES = 1 << 20  # what a form has around an uploaded file
_READING = ("GET", "HEAD", "OPTIONS")
_PLAIN_HOST = re.compile(r"[\w.\-:\[\]]+", re.ASCII)


class StudioGuard:
    """Around the application, for HTTP and websockets.

    token: demanded where it is not empty; without one the studio is on loopback, and Host has to name it. An Origin has
    to be the studio's own, and what changes something has to have one. A restart asks for the token again: what the
    browser keeps is a random number of this process.
    """

    def __init__(self, app: ASGIApp, token: str = "", body_bytes: int = UPLOAD_BYTES + _FORM_BYTES) -> None:
        self.app = app
        self._token, self._body_bytes = token, body_bytes
        self._session = secrets.token_urlsafe(32)
        self._wrong = self._waiting = 0
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        send = _with_headers(send, headers.get("host", "")) if scope["type"] == "http" else send
        try:
            self._check(scope, headers)
            answer = await self._login(scope, receive) if self._token else None
        except Refused as refused:
            answer = PlainTextResponse(str(refused), refused.status)
        if answer is None:
            await self.app(scope, self._bounded(receive), send)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008)(scope, receive, send)
        else:
            await answer(scope, receive, send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Raises Refused for another machine's page, and for a body that is too large by what it says of itself."""
        if not self._token:
            check_loopback(headers)
        origin, host = headers.get("origin"), headers.get("host", "")
        changes = scope["type"] == "websocket" or scope["method"] not in _READING
        if origin is None and changes:
            raise Refused(403, "A request that changes something has to come from the studio's own page (Origin).")
        if origin is not None and not _is_own(origin, host):
            raise Refused(403, f"The header origin names {origin!r}, and this studio is {host!r}.")
        elsewhere = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if elsewhere and headers.get("sec-fetch-mode") != "navigate":
            raise Refused(403, "A page of another place may not load parts of the studio.")
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length) > self._body_bytes:
            raise Refused(413, f"The body is larger than the {self._body_bytes:,} bytes allowed here.")

    def _knows(self, request: Request) -> bool:
        given = request.cookies.get(_cookie(request.scope), "")
        return hmac.compare_digest(given.encode(), self._session.encode())

    async def _login(self, scope: Scope, receive: Receive) -> Response | None:
        """The answer to who has not shown the token yet, or shows it in the address; None for all others."""
        request = Request({**scope, "type": "http"}, receive)
        if scope["type"] == "http" and scope["method"] == "GET" and TOKEN in request.query_params:
            given = request.query_params[TOKEN]
            rest = [(key, value) for key, value in request.query_params.multi_items() if key != TOKEN]
            scope["query_string"] = b""  # a log of requests shows it as it is when the answer begins
            target = _local(quote(scope["path"])) + (f"?{urlencode(rest)}" if rest else "")
            return self._enter(scope, target) if await self._is_right(given) else RedirectResponse(target, 303)
        if self._knows(request):
            return None
        if scope["type"] == "websocket":
            return Response(status_code=401)
        language = preferred(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", ""))
        if scope["method"] == "POST" and scope["path"] == LOGIN:
            fields = await _fields(request)
            target = _local(fields.get("to", "/"))
            if await self._is_right(fields.get(TOKEN, "")):
                return self._enter(scope, target)
            return _form(login_page(language, target, wrong=True))
        if "text/html" in request.headers.get("accept", ""):
            target = "/" if scope["path"] == LOGIN else _local(quote(scope["path"]))
            return _form(login_page(language, f"{target}?{request.url.query}" if request.url.query else target))
        return PlainTextResponse("The token is missing: open the studio's page and log in.", 401)

    async def _is_right(self, given: str) -> bool:
        """Whether it is the token; one try at a time, slower after wrong ones. Raises Refused when many wait."""
        if self._waiting >= WAITING:
            raise Refused(429, "Too many tokens are tried at once. Wait a little.")
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                await asyncio.sleep(min(self._wrong * WAIT_SECONDS, LONGEST_WAIT))
                right = hmac.compare_digest(given.encode(), self._token.encode())
                self._wrong = 0 if right else self._wrong + 1
                return right
        finally:
            self._waiting -= 1

    def _enter(self, scope: Scope, target: str) -> Response:
        answer = RedirectResponse(target, 303)
        secure = scope.get("scheme") == "https"
        answer.set_cookie(_cookie(scope), self._session, httponly=True, samesite="strict", secure=secure)
        return answer

    def _bounded(self, receive: Receive) -> Receive:
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            if message["type"] == "http.request":
                size += len(message.get("body", b""))
                if size > self._body_bytes:
                    raise HTTPException(413, f"The body is larger than the {self._body_bytes:,} bytes allowed here.")
            return message

        return counted


def _with_headers(send: Send, host: str) -> Send:
    """What tells browsers to frame, guess, refer to and fetch nothing that the studio does not need.

    NiceGUI makes its pages with inline scripts and compiles Vue's templates in the browser, hence inline and eval.
    """
    own = f" ws://{host} wss://{host}" if _PLAIN_HOST.fullmatch(host) else ""
    content = (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        f"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'{own}; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("Content-Security-Policy", content)
            headers.setdefault("Referrer-Policy", "no-referrer")
            headers["X-Frame-Options"] = "DENY"
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
        await send(message)

    return sending


def _form(page: str) -> HTMLResponse:
    # With `no-referrer` a browser would send the form with the origin `null`.
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "same-origin", "Cache-Control": "no-store"}
    return HTMLResponse(page, 401, headers)


def _is_own(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and parts.netloc.lower() == host.lower()


def _local(target: str) -> str:
    """A path of this studio: never an address elsewhere."""
    return target if re.match(r"/(?![/\\])", target) and "\n" not in target and "\r" not in target else "/"


def _cookie(scope: Scope) -> str:
    """Its name has the port in it: a browser sends cookies to all ports of a machine, and each may have a studio."""
    return f"lorafit-studio-{(scope.get('server') or ('', 0))[1]}"


async def _fields(request: Request) -> dict[str, str]:
    """The fields of the login form. Raises Refused for more than it can hold."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LOGIN_BYTES:
            raise Refused(413, "That is no login form.")
    return {key: values[0] for key, values in parse_qs(body.decode("latin-1")).items()}
