"""Who may ask: the token, and on loopback that no web page of another place asks through the user's browser."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lorafit.serve.limits import Limits
from lorafit.serve.refusals import Refused

OPEN = ("/health",)


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def refusal(refused: Refused) -> JSONResponse:
    return JSONResponse(refused.content, refused.status, refused.headers)


class Guard:
    """Around the application. token: demanded where it is not empty; without one the server is on loopback, and Host
    and Origin have to name it (a page elsewhere could otherwise reach it under a name of its own: DNS rebinding)."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check(scope["path"], Headers(scope=scope))
        except Refused as refused:
            await refusal(refused)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _check(self, path: str, headers: Headers) -> None:
        if not self.token:
            check_loopback(headers)
        elif path not in OPEN:
            kind, _, given = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.token.encode()):
                raise Refused(
                    401,
                    "The token is missing or wrong: send it as `Authorization: Bearer TOKEN`.",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )


def check_loopback(headers: Headers) -> None:
    """Raises Refused where Host, or Origin where there is one, names another machine than this."""
    for name in ("host", "origin"):
        value = headers.get(name)
        if value is None and name == "origin":
            continue
        try:
            host = urlsplit(f"{value}" if name == "origin" else f"//{value}").hostname or ""
        except ValueError:
            host = ""
        if not is_loopback(host):
            raise Refused(403, f"The header {name} names {value!r}; this server answers to this machine alone.")


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body, which has to be JSON by its header (a page's form cannot say so). Raises Refused."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "The body has to be JSON: send `Content-Type: application/json`.")
    too_large = Refused(413, f"The body is larger than the {limits.body_bytes} bytes allowed here.")
    length = request.headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length) > limits.body_bytes:
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > limits.body_bytes:
                    raise too_large
    except TimeoutError:
        raise Refused(408, f"The body did not arrive within {limits.body_seconds:g} seconds.") from None
    return b"".join(parts)
