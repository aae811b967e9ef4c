"""lorafit doctor: is this machine fit for training, or what is wrong with this run?"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lorafit.errors import RecipeError, SelfCheckFailed

if TYPE_CHECKING:
    from lorafit.doctor.line import Line
    from lorafit.run import RunFolder

STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "fault": "bold red"}
LEVEL_WIDTH, SUBJECT_WIDTH = 7, 16
FOLLOW_SECONDS = 5.0
# Without a heartbeat for so long the process is dead, whatever its last word was.
DEAD_SECONDS = 60.0


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "doctor",
        help="check this machine, or say what is wrong with a run",
        description="Without a run folder: check Python, torch, GPU, bitsandbytes, memory, disk and hubs, by really "
        "computing where that is possible. With one: read what the run wrote and say symptom, cause and remedy.",
        epilog="Exit code 0 without a fault, 4 with one; a run's findings never change it.",
    )
    parser.add_argument("run_folder", nargs="?", help="a run folder, such as runs/NAME; without: this machine")
    parser.add_argument("--follow", action="store_true", help="look again every few seconds while the run goes on")
    parser.add_argument(
        "--json", metavar="FILE", help="also write the machine's lines here, for a bug report; -: print only them"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.run_folder is None:
        if args.follow:
            raise RecipeError("--follow needs a run folder: lorafit doctor runs/NAME --follow.")
        return _machine(args.json)
    if args.json:
        raise RecipeError("--json is of the machine: lorafit doctor --json FILE, without a run folder.")
    return _run_folder(args.run_folder, args.follow)


def _machine(to: str | None) -> int:
    from lorafit.doctor.machine import examine, summary, to_json
    from lorafit.run import write_text

    terminal = Console(highlight=False)
    lines = []
    for line in examine():
        lines.append(line)
        if to != "-":
            show(line, terminal)
    worst, sentence = summary(lines)
    content = json.dumps(to_json(lines), ensure_ascii=False, indent=2)
    if to == "-":
        print(content)
    else:
        terminal.print(sentence, style=STYLES[worst], soft_wrap=True)
        if to:
            write_text(Path(to), content + "\n")
    return SelfCheckFailed.exit_code if worst == "fault" else 0


def show(line: Line, terminal: Console) -> None:
    """A line with its remedy below: in columns on a terminal, whole and plain in a pipe."""
    style, label = STYLES[line.level], "hint" if line.level == "note" else "remedy"
    if not terminal.is_terminal:
        print(f"{line.level:{LEVEL_WIDTH}}  {line.subject:{SUBJECT_WIDTH}}  {line.found}", flush=True)
        if line.remedy:
            print(f"{'':{LEVEL_WIDTH}}  {'':{SUBJECT_WIDTH}}  {label}: {line.remedy}", flush=True)
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(width=LEVEL_WIDTH)
    table.add_column(width=SUBJECT_WIDTH)
    table.add_column()
    said = Text(line.found)
    if line.remedy:
        said.append(f"\n{label}: ", style)
        said.append(line.remedy)
    table.add_row(Text(line.level, style), line.subject, said)
    terminal.print(table)


def _run_folder(name: str, follow: bool) -> int:
    from lorafit.doctor.run import diagnose, export_note, findings_text
    from lorafit.run import RunFolder

    folder = RunFolder.open(name)
    terminal = Console(highlight=False)
    findings = diagnose(folder)
    terminal.print(findings_text(findings, folder), soft_wrap=not terminal.is_terminal)
    if note := export_note(folder):
        terminal.print(f"note: {note}", style="cyan", markup=False, soft_wrap=True)
    said = {(finding.symptom, finding.severity) for finding in findings}
    while follow and goes_on(folder, time.time()):
        time.sleep(FOLLOW_SECONDS)
        new = [finding for finding in diagnose(folder) if (finding.symptom, finding.severity) not in said]
        if new:
            terminal.print(findings_text(new, folder), soft_wrap=not terminal.is_terminal)
            said |= {(finding.symptom, finding.severity) for finding in new}
    if follow:
        terminal.print(f"nothing works on {folder.path} now: no more to follow", markup=False, soft_wrap=True)
    return 0


def goes_on(folder: RunFolder, now: float) -> bool:
    """Whether a process works on the run: its status says so, and its heartbeat is fresh. now: seconds since 1970.

    Raises RunError when there is no status.
    """
    from lorafit.run import read_json

    status = read_json(folder.status)
    alive: bool = now - float(status.get("heartbeat", 0.0)) < DEAD_SECONDS
    return alive and status.get("state") in ("queued", "planning", "running")
