"""The server itself: what was asked for is loaded, a place is taken, and requests are answered until a signal comes."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from lorafit import hardware
from lorafit.data.template import Renderer, choose_template
from lorafit.infer.engine import Engine
from lorafit.model.hub import find_model, load_tokenizer
from lorafit.model.load import load_base
from lorafit.opened import open_run
from lorafit.serve.adapter import Bearing
from lorafit.serve.app import Service
from lorafit.serve.catalogue import Catalogue, Model
from lorafit.serve.limits import Limits
from lorafit.serve.place import Place
from lorafit.serve.shelf import Shelf
from lorafit.serve.wanted import Plan
from lorafit.serve.worker import Worker

LOG = logging.getLogger(__name__)
# After a signal, running answers may take so long to end; then they are cancelled.
GRACE = 10


def open_service(
    plan: Plan,
    limits: Limits,
    max_loaded: int,
    cache_bytes: int = 1 << 30,
    remote_code: bool = False,
    warn: Callable[[str], None] = LOG.warning,
) -> Service:
    """Load the base, look every adapter over, and load as many of them as may be in memory.

    Raises ModelError, AdapterError, RunError or DataError for what cannot be served.
    """
    if plan.alone is not None:
        return _open_alone(plan, limits, cache_bytes, remote_code, warn)
    settings = plan.model
    chosen = hardware.choose(settings.device, settings.dtype)
    folder = find_model(settings.name, settings.revision, remote_code)
    tokenizer = load_tokenizer(folder, remote_code)
    base = load_base(folder, chosen, settings.quantization, settings.double_quantization, remote_code)
    model = base.model.eval()
    renderer = Renderer(tokenizer, choose_template(tokenizer))
    named = Model(plan.base_name, renderer, folder=folder)
    catalogue = Catalogue(named, Bearing(base, settings.name), plan.folder)
    worker = _worker(model, tokenizer, limits, max_loaded, cache_bytes, warn)
    for name, path in plan.adapters:
        found = catalogue.look_over(name, path)
        catalogue.put(found)
        if found.adapter is None:
            continue
        for remark in found.adapter.remarks:
            warn(remark)
        if len(worker.shelf) < max_loaded and worker.shelf.take(found.adapter):
            worker.shelf.give_back(found.adapter)
    return Service(catalogue, worker, limits)


def _open_alone(
    plan: Plan, limits: Limits, cache_bytes: int, remote_code: bool, warn: Callable[[str], None]
) -> Service:
    """A run that changed the base's own weights: one model, under the run's name."""
    assert plan.alone is not None
    opened = open_run(plan.alone.path, remote_code=remote_code)
    worker = _worker(opened.model, opened.renderer.tokenizer, limits, 1, cache_bytes, warn)
    name = plan.alone.path.resolve().name
    default = opened.model.active_adapter if hasattr(opened.model, "peft_config") else None
    alone = Model(name, opened.renderer, folder=plan.alone.path, fixed=default)
    return Service(Catalogue(alone, None, None), worker, limits)


def _worker(
    model: Any, tokenizer: Any, limits: Limits, max_loaded: int, cache_bytes: int, warn: Callable[[str], None]
) -> Worker:
    def make(model: Any) -> Engine:
        return Engine(
            model,
            lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True)),
            max_running=limits.running,
            cache_bytes=cache_bytes,
            warn=warn,
        )

    engine = make(model)
    return Worker(make, engine, Shelf(engine, max_loaded), limits.queue)


def serve(service: Service, place: Place, listening: socket.socket) -> None:
    """Answer until SIGTERM, which ends it, or Ctrl-C, which raises KeyboardInterrupt; what runs may end before."""
    with _terminated():
        make_server(service, place).run(sockets=[listening])


def make_server(service: Service, place: Place) -> uvicorn.Server:
    config = uvicorn.Config(
        service.app(place.token),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=30,
    )
    return uvicorn.Server(config)


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """Within this block SIGTERM does nothing by itself: uvicorn ends at it, and then raises it once more."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
