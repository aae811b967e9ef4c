"""lorafit chat: talk with a tuned model, with others on the same base, and with the base below them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lorafit.cli.arguments import positive
from lorafit.errors import DataError

if TYPE_CHECKING:
    from lorafit.infer.chat import Chat
    from lorafit.observe.console import Console

WIDE = 100  # columns of a terminal on which two answers stand side by side


HELP = "/base and /tuned switch the adapter off and on, /new forgets the conversation, /help says more, /quit ends"
MORE = """\
/use NAME        who answers: {voices}
/base, /tuned    the same as /use base, /use tuned
/both            base and tuned answer side by side; again: one of them
/system TEXT     what the model is told before the conversation; without a text: nothing
/set             the settings; /set temperature 0.7 changes one
/new             forgets the conversation
/quit            ends
A line that ends in \\ goes on in the next."""


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser("chat", help="talk with a tuned model", description=f"Talk with a tuned model. {HELP}.")
    parser.add_argument("run_folder", help="a run folder, such as runs/NAME")
    parser.add_argument(
        "--adapter", action="append", default=[], metavar="NAME=RUN", help="another on the same base; may be repeated"
    )
    parser.add_argument("--checkpoint", type=int, metavar="UPDATE", help="use the copy made after this update")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 always takes the likeliest token (0)")
    parser.add_argument("--max-new-tokens", type=positive, default=512, help="the longest answer in tokens (512)")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the model folder's own code (off)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lorafit.infer.chat import BASE, Chat
    from lorafit.observe.console import Console
    from lorafit.opened import open_run

    console = Console()
    with console.working(f"loading {args.run_folder}"):
        opened = open_run(args.run_folder, args.checkpoint, args.trust_remote_code)
        chat = Chat(opened.model, opened.renderer, args.max_new_tokens, args.temperature)
        if not opened.has_base_below:
            chat.voices.pop(BASE, None)
        add_voices(chat, opened, args.adapter)
    console.say(f"{opened.recipe.model.name}, {HELP}", style="dim")
    Talk(chat, console, opened.run.path.resolve().name).go_on()
    return 0


def add_voices(chat: Chat, opened: Any, adapters: list[str]) -> None:
    """Put further adapters on the base of a run. Raises RecipeError, AdapterError or RunError."""
    if not adapters:
        return
    from lorafit.errors import AdapterError, RecipeError
    from lorafit.infer.chat import Voice
    from lorafit.serve.adapter import Bearing
    from lorafit.serve.catalogue import Catalogue, Model
    from lorafit.serve.shelf import put_on
    from lorafit.serve.wanted import named_adapter

    if not opened.has_base_below:
        raise AdapterError(f"{opened.run.path} changed the base's own weights: no other adapter fits beside it.")
    name = opened.recipe.model.name
    known = Catalogue(Model(name, opened.renderer, folder=opened.base.folder), Bearing(opened.base, name), None)
    for text in adapters:
        voice, path = named_adapter(text)
        if voice in chat.voices:
            raise RecipeError(f"--adapter {text}: there is a {voice} already, choose another name.")
        found = known.look_over(voice, path)
        if found.adapter is not None:
            put_on(opened.model, found.adapter)
            chat.voices[voice] = Voice(found.adapter.key, found.renderer)


class Talk:
    """Lines of a user to a chat. alias: another name of the tuned model, its run's."""

    def __init__(self, chat: Chat, console: Console, alias: str) -> None:
        self.chat, self.console, self.alias = chat, console, alias
        self.both = False

    def go_on(self) -> None:
        """Read and answer until the input ends."""
        while True:
            try:
                text = self._read()
            except (EOFError, KeyboardInterrupt):
                return
            if text in ("/quit", "/exit"):
                return
            if text.startswith("/"):
                word, _, rest = text[1:].partition(" ")
                commands: dict[str, Callable[[str], None]] = {
                    "use": self._use, "base": lambda _: self._use("base"), "tuned": lambda _: self._use("tuned"),
                    "both": self._side_by_side, "system": self._system, "set": self._set, "new": self._new,
                }  # fmt: skip
                commands.get(word, self._help)(rest.strip())
            elif text:
                self._ask(text)

    def _read(self) -> str:
        lines = [self._line("[bold]you:[/] ")]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(self._line("[bold]...:[/] "))
        return "\n".join(lines).strip()

    def _line(self, prompt: str) -> str:
        return self.console.terminal.input(prompt) if sys.stdin.isatty() else input()

    # ------------------------------------------------------------------------------------------------- commands

    def _help(self, rest: str) -> None:
        self.console.say(MORE.format(voices=", ".join(self.chat.voices)), style="dim")

    def _use(self, name: str) -> None:
        name = "tuned" if name == self.alias and name not in self.chat.voices else name
        if name not in self.chat.voices:
            if name == "base":
                self.console.warn("this run changed the base's own weights, so the base cannot be heard from it")
            else:
                self.console.warn(f"there is no {name!r}; there are: {', '.join(self.chat.voices)}")
            return
        self.chat.speaker, self.both = name, False
        self.console.say(f"the {name} model answers", style="dim")

    def _side_by_side(self, rest: str) -> None:
        if "base" not in self.chat.voices:
            self._use("base")
            return
        self.both = not self.both
        self.console.say(
            "base and tuned answer" if self.both else f"the {self.chat.speaker} model answers", style="dim"
        )

    def _system(self, text: str) -> None:
        self.chat.system = text
        self.console.say(f"told before the conversation: {text or 'nothing'}", style="dim")

    def _set(self, rest: str) -> None:
        name, _, value = rest.replace("=", " ").partition(" ")
        try:
            if name:
                self.chat.set(name, value.strip())
        except ValueError as error:
            self.console.warn(str(error))
        self.console.say(", ".join(f"{key} {found}" for key, found in self.chat.settings.items()), style="dim")

    def _new(self, rest: str) -> None:
        self.chat.restart()
        self.console.say("a new conversation", style="dim")

    # -------------------------------------------------------------------------------------------------- answers

    def _ask(self, text: str) -> None:
        before = self.chat.forgotten
        try:
            if self.both:
                self._show_both(text)
            else:
                self._label(self.chat.speaker)
                self.chat.say(text, _write)
                print()
            self.console.say(f"{self.chat.tokens_per_second:.1f} tokens/s", style="dim")
        except DataError as error:
            self.console.warn(str(error))
        except KeyboardInterrupt:  # stops this answer; the conversation goes on without it
            print()
        if self.chat.forgotten > before:
            self.console.say("(the oldest turns no longer fit the model's length and are forgotten)", style="dim")

    def _label(self, name: str) -> None:
        self.console.terminal.print(f"{name}:", style="bold yellow" if name == "base" else "bold green", end=" ")

    def _show_both(self, text: str) -> None:
        other = self.chat.speaker if self.chat.tuned else "tuned"
        if self.console.terminal.is_terminal and self.console.terminal.width >= WIDE:
            self._columns(text, ("base", other))
            return
        # One after another on the screen; decoded together all the same.
        rest: list[str] = []
        self._label("base")
        answers = self.chat.say_to({"base": _write, other: rest.append}, text)
        print()
        self._label(other)
        print("".join(rest).strip() or answers[other])

    def _columns(self, text: str, names: tuple[str, str]) -> None:
        from rich.live import Live

        said = dict.fromkeys(names, "")
        with Live(columns(said), console=self.console.terminal, auto_refresh=False) as live:

            def writer(name: str) -> Callable[[str], None]:
                def write(piece: str) -> None:
                    said[name] += piece
                    live.update(columns(said), refresh=True)

                return write

            self.chat.say_to({name: writer(name) for name in names}, text)


def columns(said: dict[str, str]) -> Any:
    """Answers side by side, each under the name of who gave it; rich knows how wide characters are."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, expand=True, padding=(0, 2, 0, 0))
    for name in said:
        style = "bold yellow" if name == "base" else "bold green"
        table.add_column(Text(f"{name}:", style=style), ratio=1, overflow="fold")
    table.add_row(*(Text(text.strip()) for text in said.values()))
    return table


def _write(piece: str) -> None:
    print(piece, end="", flush=True)
