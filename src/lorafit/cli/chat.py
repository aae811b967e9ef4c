"""lorafit chat: talk with a tuned model, and with the base below it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from lorafit.errors import DataError


def positive(text: str) -> int:
    """An argparse type: a whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"should be 1 or more, found {text}")
    return number


HELP = "/base and /tuned switch the adapter off and on, /new forgets the conversation, /quit ends"


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser("chat", help="talk with a tuned model", description=f"Talk with a tuned model. {HELP}.")
    parser.add_argument("run_folder", help="a run folder, such as runs/NAME")
    parser.add_argument("--checkpoint", type=int, metavar="UPDATE", help="use the copy made after this update")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 always takes the likeliest token (0)")
    parser.add_argument("--max-new-tokens", type=positive, default=512, help="the longest answer in tokens (512)")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the model folder's own code (off)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lorafit.infer.chat import Chat
    from lorafit.observe.console import Console
    from lorafit.opened import open_run

    console = Console()
    with console.working(f"loading {args.run_folder}"):
        opened = open_run(args.run_folder, args.checkpoint, args.trust_remote_code)
    chat = Chat(opened.model, opened.renderer, args.max_new_tokens, args.temperature)
    console.say(f"{opened.recipe.model.name}, {HELP}", style="dim")
    while True:
        try:
            text = console.terminal.input("[bold]you:[/] ") if sys.stdin.isatty() else input()
        except (EOFError, KeyboardInterrupt):
            return 0
        text = text.strip()
        if text in ("/quit", "/exit"):
            return 0
        if text == "/new":
            chat.restart()
            console.say("a new conversation", style="dim")
        elif text in ("/base", "/tuned"):
            if not opened.has_base_below:
                console.warn("this run changed the base's own weights, so the base cannot be heard from it")
                continue
            chat.tuned = text == "/tuned"
            console.say(f"the {text[1:]} model answers", style="dim")
        elif text.startswith("/"):
            console.say(HELP, style="dim")
        elif text:
            before = chat.forgotten
            name = "tuned" if chat.tuned else "base"
            console.terminal.print(f"{name}:", style="bold green" if chat.tuned else "bold yellow", end=" ")
            try:
                chat.say(text, lambda piece: print(piece, end="", flush=True))
            except DataError as error:
                console.warn(str(error))
            except KeyboardInterrupt:  # stops this answer; the conversation goes on without it
                pass
            print()
            if chat.forgotten > before:
                console.say("(the oldest turns no longer fit the model's length and are forgotten)", style="dim")
