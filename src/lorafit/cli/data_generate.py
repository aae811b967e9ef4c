"""lorafit data generate: instruction rows from documents or seed instructions, by asking a model."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorafit.cli.arguments import positive
from lorafit.errors import DataError, RecipeError

if TYPE_CHECKING:
    import threading

    from lorafit.data.generate import Ask, Counts, Failure, Messages, Prompt, Reply, Request, Target
    from lorafit.observe.console import Console
    from lorafit.records import Conversation

KEY = "LORAFIT_API_KEY"
SAY_EVERY = 10.0  # seconds
_LOOPBACK = re.compile(r"http://(localhost|127\.[\d.]+|\[::1\])([:/]|$)")
LOCAL_GROUP = 16


def share(text: str) -> float:
    """An argparse type: a number above 0 and up to 1."""
    number = float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"should be above 0 and at most 1, found {text}")
    return number


def setting(text: str) -> tuple[str, Any]:
    """An argparse type: name=value, the value as JSON, or as text where it is none."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"should be name=value, found {text}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "data-generate",
        prog="lorafit data generate",
        description="Make instruction rows: ask a model about each passage of documents, or show it seed "
        "instructions and have it write new ones. A stopped run goes on with the same command; no "
        "answer is paid for twice.",
        epilog="Rows that a provider's model wrote may be bound by its terms of use (docs/generate.md).",
    )
    parser.add_argument("documents", nargs="*", help="files, folders or patterns: PDF, DOCX, HTML, EPUB, Markdown, ...")
    parser.add_argument("--seeds", metavar="FILE", help="JSON or JSONL of seed instructions, instead of documents")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the rows go (JSONL)")

    answers = parser.add_argument_group("what answers")
    answers.add_argument("--endpoint", metavar="URL", help="an OpenAI-compatible server: http://localhost:8000/v1")
    answers.add_argument("--model", metavar="NAME", help="the model's name at the endpoint")
    answers.add_argument("--local", metavar="MODEL", help="a run folder, a model folder, a hub id, or `builtin`")
    answers.add_argument("--key-env", metavar="NAME", help=f"the environment variable with the API key ({KEY})")
    answers.add_argument("--temperature", type=float, default=0.7, help="of the endpoint; a local model takes 0 (0.7)")
    answers.add_argument("--max-tokens", type=positive, default=1024, help="the longest answer in tokens (1024)")
    answers.add_argument(
        *("--set", "-s"),
        dest="settings",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=JSON",
        help="another field of each request to the endpoint, such as top_p=0.9; null leaves a field out",
    )
    answers.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="for an answer (120)")
    answers.add_argument("--attempts", type=positive, default=6, help="how often one request is sent at most (6)")
    answers.add_argument("--at-once", type=positive, default=4, metavar="N", help="requests in the air (4)")
    answers.add_argument("--failures", type=positive, default=5, help="failed requests in a row that end the run (5)")

    asked = parser.add_argument_group("what is asked")
    asked.add_argument("--prompt", action="append", metavar="NAME", help="qa, variety, dialogue, ..., or a file (qa)")
    asked.add_argument("--language", choices=("auto", "en", "zh"), default="auto", help="of built-in prompts (auto)")
    asked.add_argument("--rows", type=positive, metavar="N", help="rows asked for in one request (as the prompt says)")
    asked.add_argument("--passage", type=positive, default=2000, metavar="CHARACTERS", help="longest passage (2000)")
    asked.add_argument("--max-requests", type=positive, default=1000, help="the budget, over all runs (1000)")
    asked.add_argument("--max-rows", type=positive, help="stop at this many rows")
    asked.add_argument("--seed", type=int, default=0, help="of the order of passages and the draws of seeds (0)")
    asked.add_argument("--dry-run", action="store_true", help="show the first request and ask nothing")

    rows = parser.add_argument_group("which rows are kept")
    rows.add_argument("--form", choices=("messages", "alpaca"), default="messages", help="of the rows (messages)")
    rows.add_argument("--shortest", type=positive, default=1, metavar="CHARACTERS", help="shortest answer (1)")
    rows.add_argument("--longest", type=positive, metavar="CHARACTERS", help="longest answer")
    rows.add_argument("--mention", action="append", default=[], help="another phrase that refuses a row")
    rows.add_argument("--mentions-allowed", action="store_true", help="keep rows that speak of `the passage`")
    rows.add_argument("--numbers", action="store_true", help="refuse answers with numbers that the passage lacks")
    rows.add_argument("--near", type=share, metavar="SIMILARITY", help="refuse near duplicates, such as 0.8 (off)")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the model folder's own code (off)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lorafit.data.generate import MENTIONS, Checks, Counts, Duplicates, Limits, Target, generate
    from lorafit.observe.console import Console

    console = Console()
    _check(args)
    seeds: list[Conversation] = []
    requests, total = _from_seeds(args, seeds) if args.seeds else _from_documents(args, console)
    if args.dry_run:
        for message in next(requests).messages:
            console.say(f"{message.role}:", style="bold")
            console.say(message.content)
        return 0
    checks = Checks(
        args.shortest, args.longest, () if args.mentions_allowed else (*MENTIONS, *args.mention), args.numbers
    )
    duplicates = Duplicates(args.near, known=seeds)
    limits = Limits(args.max_requests, args.max_rows, 1 if args.local else args.at_once, args.failures)
    target = Target(args.out, args.form, args.local or args.model)
    counts = Counts()
    with contextlib.ExitStack() as stack:
        ask, group = stack.enter_context(_local(args, console) if args.local else _endpoint(args, console))
        stack.callback(_report, console, counts, target)
        watch = stack.enter_context(_showing(console, counts, total, args.max_rows))
        generate(requests, ask, target, limits, checks, duplicates, counts, group, watch, console.say)
    return 0


def _check(args: argparse.Namespace) -> None:
    if bool(args.documents) == bool(args.seeds):
        raise RecipeError("Name either documents (files or folders) or a file of seed instructions (--seeds FILE).")
    if bool(args.local) == bool(args.endpoint or args.model):
        raise RecipeError(
            "Say what answers: an OpenAI-compatible server (--endpoint URL --model NAME), or a model on this machine "
            "(--local MODEL)."
        )
    if not args.local and not (args.endpoint and args.model):
        raise RecipeError("An endpoint needs both its address and the name of a model: --endpoint URL --model NAME.")


def _identity(args: argparse.Namespace) -> str:
    """What an answer depends on besides its question."""
    asked = [args.local] if args.local else [args.model, args.temperature, sorted(dict(args.settings).items())]
    return json.dumps([*asked, args.max_tokens])


def _prompts(args: argparse.Namespace, made_from: str) -> Callable[[str], list[Prompt]]:
    from lorafit.data.generate import language_of, load_prompt

    names = args.prompt or ["qa" if made_from == "passage" else "instructions"]
    for name in names:
        if (needed := load_prompt(name).head.made_from) != made_from:
            raise RecipeError(f"The prompt {name} is made from {needed}, and what is given here is {made_from}.")

    def choose(text: str) -> list[Prompt]:
        language = language_of(text) if args.language == "auto" else args.language
        return [load_prompt(name, language) for name in names]

    return choose


def _from_documents(args: argparse.Namespace, console: Console) -> tuple[Iterator[Request], int]:
    """The requests, and how many the budget allows."""
    from lorafit.data.documents import chunk_documents, read_documents
    from lorafit.data.generate import from_chunks

    prompts = _prompts(args, "passage")
    with console.working("reading the documents"):
        found = read_documents(args.documents)
        chunks = chunk_documents(found.documents, args.passage)
    console.say(str(found))
    if not chunks:
        raise DataError("The documents hold no text to ask about.")
    possible = len(chunks) * len(args.prompt or [""])
    total = min(possible, args.max_requests)
    console.say(f"{len(chunks):,} passages: {total:,} of {possible:,} requests are asked")
    if total < possible:
        console.say("  the others are left out by the budget (--max-requests)")
    return from_chunks(chunks, prompts, _identity(args), args.rows, args.seed), total


def _from_seeds(args: argparse.Namespace, seeds: list[Conversation]) -> tuple[Iterator[Request], int]:
    from lorafit.data.generate import from_seeds, read_seeds

    prompts = _prompts(args, "seeds")
    seeds += read_seeds(args.seeds)
    return from_seeds(seeds, prompts, _identity(args), args.rows, args.seed), args.max_requests


@contextlib.contextmanager
def _endpoint(args: argparse.Namespace, console: Console) -> Iterator[tuple[Ask, int]]:
    from lorafit.data.generate import Endpoint

    key = os.environ.get(args.key_env or KEY, "").strip()
    if args.key_env and not key:
        raise RecipeError(f"The environment variable {args.key_env} is not set: it should hold the API key.")
    if not (key.isascii() and key.isprintable()):  # said here, so that no library shows it
        raise RecipeError(f"The API key in {args.key_env or KEY} holds characters that no key has. Set it again.")
    if key and args.endpoint.startswith("http://") and not _LOOPBACK.match(args.endpoint):
        console.warn(f"the API key goes to {args.endpoint} unencrypted")
    settings = {"temperature": args.temperature, "max_tokens": args.max_tokens, **dict(args.settings)}
    with contextlib.closing(
        Endpoint(args.endpoint, args.model, settings, key or None, args.timeout, args.attempts)
    ) as endpoint:
        yield endpoint.ask, 1
        if endpoint.retries:
            console.say(f"requests sent again: {endpoint.retries:,}")


@contextlib.contextmanager
def _local(args: argparse.Namespace, console: Console) -> Iterator[tuple[Ask, int]]:
    from lorafit import hardware
    from lorafit.data.generate import Failure, Reply
    from lorafit.data.template import Renderer, choose_template
    from lorafit.infer.generate import BATCH, answer_prompts
    from lorafit.model.hub import find_model, load_tokenizer
    from lorafit.model.load import load_base, longest_sequence
    from lorafit.opened import open_run

    remote_code = args.trust_remote_code
    with console.working(f"loading {args.local}"):
        if (Path(args.local) / "recipe.yaml").is_file():
            opened = open_run(args.local, None, remote_code)
            model, renderer = opened.model, opened.renderer
        else:
            folder = find_model(args.local, None, remote_code)
            tokenizer = load_tokenizer(folder, remote_code)
            renderer = Renderer(tokenizer, choose_template(tokenizer))
            model = load_base(folder, hardware.choose(), "none", remote_code=remote_code).model
    longest = longest_sequence(model)

    def ask(group: Sequence[Messages], stopping: threading.Event) -> list[Reply | Failure]:
        if stopping.is_set():
            return [Failure("stopped before it was asked")] * len(group)
        prompts = [renderer.prompt_ids(messages) for messages in group]
        fitting = [ids for ids in prompts if longest is None or len(ids) < longest]
        answers = iter(answer_prompts(model, renderer, fitting, args.max_tokens))
        replies: list[Reply | Failure] = []
        for ids in prompts:
            if longest is not None and len(ids) >= longest:
                replies.append(Failure(f"the request does not fit the model's {longest} tokens (see --passage)"))
            else:
                answer = next(answers)
                written = len(renderer.tokenizer(answer.text).input_ids)
                replies.append(Reply(answer.text, (len(ids), written), not answer.ended))
        return replies

    yield ask, BATCH


@contextlib.contextmanager
def _showing(console: Console, counts: Counts, total: int, wanted: int | None) -> Iterator[Callable[[], None]]:
    """A bar with the time left, or a line every ten seconds where there is no terminal."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    def figures() -> str:
        tokens = f"tokens {counts.tokens_read:,} read, {counts.tokens_written:,} written"
        return f"{counts.asked:,}/{total:,} requests  {counts.rows:,} rows  {tokens}"

    if not console.terminal.is_terminal:
        said = time.monotonic()

        def say() -> None:
            nonlocal said
            if time.monotonic() - said >= SAY_EVERY:
                said = time.monotonic()
                console.say(figures())

        yield say
        return
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}", markup=False), TimeRemainingColumn())
    with Progress(*columns, console=console.terminal, transient=True) as progress:
        task = progress.add_task("", total=1.0)

        def move() -> None:
            done = max(counts.asked / total, counts.rows / wanted if wanted else 0.0)
            progress.update(task, completed=done, description=figures())

        yield move


def _report(console: Console, counts: Counts, target: Target) -> None:
    if not counts.asked:
        return
    kept = f" ({counts.kept:,} of them answered before)" if counts.kept else ""
    console.say(f"{counts.rows:,} rows from {counts.asked:,} requests{kept}: {target.path}")
    if counts.repeated:
        console.say(f"{counts.repeated:,} passages stand there twice and were asked about once")
    metered = f", and {counts.unmetered:,} answers that the server counted no tokens of" if counts.unmetered else ""
    console.say(f"tokens: {counts.tokens_read:,} read, {counts.tokens_written:,} written{metered}")
    for reason, count in counts.rejected.most_common():
        console.say(f"refused: {count:,} × {reason}")
    if counts.rejected:
        console.say(f"refused rows are in {target.rejected}")
    for reason, count in counts.failed.most_common(10):
        console.warn(f"no answer: {count:,} × {reason}")
    if counts.failed:
        console.say("the same command asks those again")
