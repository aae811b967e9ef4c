"""Where a server listens, and that other machines ask only with a token."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from lorafit.errors import LorafitError, RecipeError
from lorafit.serve.guard import is_loopback

TOKEN = "LORAFIT_TOKEN"


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is served. token: empty for none."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""


def checked_place(host: str, port: int, token: str | None) -> Place:
    """Raises RecipeError when other machines could ask without a token."""
    token = token or os.environ.get(TOKEN, "")
    if not token and not is_loopback(host):
        raise RecipeError(
            f"--host {host} lets other machines ask, so it needs a token: set {TOKEN} (or --token); clients give it "
            "as their API key."
        )
    if token and not token.isascii():
        raise RecipeError(f"{TOKEN} has to be ASCII: it travels in a header.")
    return Place(host, port, token)


def take_port(place: Place) -> socket.socket:
    """A socket that listens there; with port 0 at a free one. Raises LorafitError when it is taken."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    # Its protocol is named so that asyncio sets TCP_NODELAY: else a reply waits 40 ms for the client's acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((place.host, place.port))
        listening.listen(512)
    except OSError as error:
        listening.close()
        raise LorafitError(
            f"{place.host}, port {place.port}, cannot be listened at: {error.strerror or error}. Choose another --port."
        ) from error
    return listening
