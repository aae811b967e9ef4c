"""Checks of where models come from: is a hub reachable, is there a token. Nothing is downloaded."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from urllib.parse import urlsplit

from lorafit.doctor.line import Line, first_line

SECONDS = 3.0
MODELSCOPE = "https://www.modelscope.cn"
# A hub that wants a token, another method or patience is there too.
REFUSED = (401, 403, 405, 429)
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")

# An address to the HTTP status that it answers with; raises whatever the HTTP library raises.
Fetch = Callable[[str], int]


def check_hubs() -> Iterator[Line]:
    from huggingface_hub import constants

    domain = os.environ.get("MODELSCOPE_DOMAIN")
    yield from hub_lines(
        constants.ENDPOINT,
        f"https://{domain}" if domain else MODELSCOPE,
        offline=constants.is_offline_mode(),
        environ=os.environ,
        fetch=_fetch,
        with_modelscope=find_spec("modelscope") is not None,
    )


def hub_lines(
    endpoint: str, modelscope: str, offline: bool, environ: Mapping[str, str], fetch: Fetch, with_modelscope: bool
) -> Iterator[Line]:
    if offline:
        found = "HF_HUB_OFFLINE is set: only models that are on this disk already can be used"
        yield Line("note", "hubs", found, "unset HF_HUB_OFFLINE to download")
        return
    proxies = [name for name in PROXIES if environ.get(name) or environ.get(name.lower())]
    through = f" (proxy settings: {', '.join(proxies)})" if proxies else ""
    hugging_face, other = _answers([endpoint, modelscope], fetch)
    ways = ["use a model folder on this disk"]
    if isinstance(other, float):
        ways.append("take the model from ModelScope: model.name=modelscope:ID")
    ways += ["set HF_ENDPOINT to a mirror"] if "HF_ENDPOINT" not in environ else ["correct HF_ENDPOINT"]
    ways.append("correct the proxy settings" if proxies else "behind a proxy: set HTTPS_PROXY")
    yield _hub_line("Hugging Face", endpoint, hugging_face, through, ", or ".join(ways))
    if with_modelscope or isinstance(other, float):
        needs = "" if with_modelscope else "; its package is not installed: pip install 'lorafit[modelscope]'"
        yield _hub_line("ModelScope", modelscope, other, through + needs, "needed for modelscope:ID names alone")


def _hub_line(subject: str, address: str, answer: float | str, after: str, remedy: str) -> Line:
    host = urlsplit(address).hostname or address
    if isinstance(answer, float):
        return Line("ok", subject, f"{host} answers after {answer:.1f} s{after}")
    return Line("warning", subject, f"{host} cannot be reached: {answer}{after}", remedy)


def _answers(addresses: list[str], fetch: Fetch) -> list[float | str]:
    """For each address the seconds to its answer, or what is wrong; all are asked at once, and given up together."""
    found: dict[str, float | str] = {}

    def ask(address: str) -> None:
        began = time.perf_counter()
        try:
            status = fetch(address)
        except Exception as error:  # noqa: BLE001  each HTTP library has errors of its own, and all mean the same here
            found[address] = first_line(error)
        else:
            there = status < 400 or status in REFUSED
            found[address] = time.perf_counter() - began if there else f"it answers with HTTP status {status}"

    threads = [threading.Thread(target=ask, args=(address,), daemon=True) for address in addresses]
    until = time.monotonic() + SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:  # looking a name up knows no time limit of its own
        thread.join(max(0.0, until - time.monotonic()))
    return [found.get(address, f"no answer within {SECONDS:g} s") for address in addresses]


def _fetch(address: str) -> int:
    """Through the hub's own HTTP client, which takes proxies and certificates as a download does."""
    from huggingface_hub import get_session

    status: int = get_session().head(address, timeout=SECONDS).status_code
    return status


def check_token() -> Iterator[Line]:
    from huggingface_hub import get_token

    yield token_line(bool(get_token()))


def token_line(there: bool) -> Line:
    if there:
        return Line("ok", "token", "a Hugging Face token is there (not shown)")
    return Line(
        "note", "token", "no Hugging Face token: public models need none", "for gated or private ones: hf auth login"
    )
