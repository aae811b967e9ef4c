"""lorafit serve: a base and its adapters over HTTP, as OpenAI's clients ask for them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lorafit.cli.arguments import port, positive
from lorafit.errors import LorafitError


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "serve",
        help="answer OpenAI's clients with a base and its adapters",
        description="Serve one base and any number of adapters, each a model name of an OpenAI-compatible server: "
        "`lorafit serve runs/NAME`, or `lorafit serve --base M --adapter legal=runs/a --adapter med=runs/b`.",
        epilog="What is answered, and how adapters come and go while it runs: docs/serve.md.",
    )
    parser.add_argument("run_folder", nargs="?", help="a run: serves what it trained and the base below it")
    parser.add_argument("--base", metavar="M", help="the base: a folder, a hub id or builtin (the adapters' own)")
    parser.add_argument(
        "--adapter", action="append", default=[], metavar="NAME=RUN", help="a run or a PEFT adapter; may be repeated"
    )
    parser.add_argument("--adapters-folder", type=Path, metavar="DIR", help="serve every adapter in it by its name")
    parser.add_argument("--max-loaded", type=positive, default=16, metavar="N", help="adapters in memory (16)")
    parser.add_argument("--host", default="127.0.0.1", help="another than loopback needs a token (127.0.0.1)")
    parser.add_argument("--port", type=port, default=8000, help="0 takes a free one (8000)")
    parser.add_argument("--token", help="what clients give as their API key (LORAFIT_TOKEN of the environment)")
    parser.add_argument("--max-running", type=positive, default=64, metavar="N", help="answers decoded at once (64)")
    parser.add_argument("--max-queue", type=int, default=256, metavar="N", help="answers that may wait (256)")
    parser.add_argument("--max-tokens", type=positive, default=4096, metavar="N", help="of one answer (4096)")
    parser.add_argument("--timeout", type=float, default=600.0, metavar="S", help="seconds for one request (600)")
    parser.add_argument("--cache", type=float, default=1.0, metavar="GIB", help="memory for keys and values (1)")
    parser.add_argument("--quantization", choices=("none", "nf4", "int8"), help="of the base (what the runs had)")
    parser.add_argument("--engine", choices=("own", "vllm"), default="own", help="who decodes (own)")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the model folder's own code (off)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise LorafitError("lorafit serve needs its packages: pip install 'lorafit[serve]'") from None

    from lorafit.observe.console import Console
    from lorafit.serve.limits import Limits
    from lorafit.serve.place import checked_place, take_port
    from lorafit.serve.wanted import Wanted, named_adapter, plan

    console = Console()
    place = checked_place(args.host, args.port, args.token)
    adapters = tuple(map(named_adapter, args.adapter))
    planned = plan(Wanted(args.run_folder, args.base, adapters, args.adapters_folder, args.quantization))
    if args.engine == "vllm":
        from lorafit.serve.vllm import execute

        execute(planned, place, args.max_loaded, args.trust_remote_code)

    from lorafit.serve.server import open_service, serve

    limits = Limits(args.max_running, max(0, args.max_queue), args.timeout, tokens=args.max_tokens)
    with take_port(place) as listening:
        with console.working(f"loading {planned.model.name}"):
            cache_bytes = int(args.cache * 2**30)
            service = open_service(planned, limits, args.max_loaded, cache_bytes, args.trust_remote_code, console.warn)
        host = f"[{place.host}]" if ":" in place.host else place.host
        console.say(f"models: {', '.join(service.catalogue.names)}")
        console.say(f"serving on http://{host}:{listening.getsockname()[1]}/v1 (Ctrl-C ends it)")
        serve(service, place, listening)
    return 0
