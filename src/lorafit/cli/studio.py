"""lorafit studio: the whole of lorafit in a browser."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorafit.cli.arguments import port
from lorafit.errors import LorafitError, RecipeError

if TYPE_CHECKING:
    from lorafit.serve.place import Place
    from lorafit.studio.workspace import Workspace


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "studio",
        help="train, watch, compare, chat and export in a browser",
        description="A web page over a workspace folder: its runs, new ones step by step, results, chat, export. Runs "
        "are processes of their own: they go on when the page or the studio is closed.",
        epilog="From another machine: ssh -L 7600:127.0.0.1:7600 USER@HOST, then open http://127.0.0.1:7600 there.",
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), help="the workspace (the present folder)")
    parser.add_argument("--host", default="127.0.0.1", help="another than loopback needs a token (127.0.0.1)")
    parser.add_argument("--port", type=port, default=7600, help="0 takes a free one (7600)")
    parser.add_argument("--token", help="what a browser has to give (LORAFIT_TOKEN of the environment)")
    parser.add_argument(
        "--allow", type=Path, action="append", default=[], metavar="DIR",
        help="another folder that data and models may be read from; may be repeated",
    )  # fmt: skip
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        import nicegui  # noqa: F401
    except ImportError:
        raise LorafitError("lorafit studio needs its packages: pip install 'lorafit[studio]'") from None
    if not args.folder.is_dir():
        raise RecipeError(f"{args.folder} is not a folder: lorafit studio takes the folder to work in.")
    for folder in args.allow:
        if not folder.is_dir():
            raise RecipeError(f"--allow {folder}: that is not a folder.")

    from lorafit.run import InUseError, only_process
    from lorafit.serve.place import checked_place
    from lorafit.studio.refusal import StudioError
    from lorafit.studio.workspace import Workspace

    place = checked_place(args.host, args.port, args.token)
    workspace = Workspace(args.folder, args.allow)
    address = workspace.hidden / "address"
    try:
        # Two would end each other's chat servers.
        with only_process(workspace.hidden / "studio.lock"):
            _serve(workspace, place, address, not args.no_browser)
    except InUseError:
        at = address.read_text() if address.is_file() else "an address that its terminal names"
        raise StudioError(f"A studio works in {workspace.root} already, at {at}: open that, or end it first.") from None
    return 0


def _serve(workspace: Workspace, place: Place, address_file: Path, opens_browser: bool) -> None:
    from lorafit.observe.console import Console
    from lorafit.serve.place import take_port
    from lorafit.studio.app import make_server
    from lorafit.studio.studio import open_studio

    console = Console()
    with take_port(place) as listening:
        studio = open_studio(workspace)
        taken = listening.getsockname()[1]
        host = f"[{place.host}]" if ":" in place.host else place.host
        address = f"http://{host}:{taken}"
        with contextlib.suppress(OSError):  # it only helps who starts another studio here
            address_file.write_text(address)
        console.say(f"workspace: {workspace.root}")
        console.say(f"studio: {address} (Ctrl-C ends it; runs go on)", style="bold")
        if place.token:
            console.say("the page asks for the token")
        else:
            console.say(f"from another machine: ssh -L {taken}:127.0.0.1:{taken} USER@HOST, then open {address} there")
        server = make_server(studio, place.token)
        if opens_browser:
            _open_browser(address)
        server.run(sockets=[listening])


def _open_browser(address: str) -> None:
    """Where there is a desktop."""
    import os
    import sys
    import threading
    import webbrowser

    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    threading.Timer(1.0, webbrowser.open, [address]).start()
