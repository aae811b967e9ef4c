"""This machine on the home screen: bars of what is in use, and what the doctor says."""

from __future__ import annotations

from collections import Counter

from nicegui import ui

from lorafit.errors import LorafitError
from lorafit.report.words import size
from lorafit.studio.frame import card, notice
from lorafit.studio.machine import Gpu, InUse, Machine
from lorafit.studio.studio import Studio
from lorafit.studio.words import t, t_core

LEVELS = {"fault": "bad-text", "warning": "warn-text", "note": "dim", "ok": "good-text"}
# The first look at many runs is not slowed by the doctor's program, which keeps a processor busy for seconds.
DOCTOR_AFTER_SECONDS = 2.0
MACHINE = Machine()


class MachineCard:
    """`show` moves the bars; the doctor comes when it is ready, once a session."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        with card(t("This machine")):
            self._bars = ui.element("div").classes("home-bars")
            self._doctor = ui.element("div").classes("home-doctor").props("role=status")
        with self._doctor, ui.row().classes("inline dim"):
            ui.spinner(size="1em").props("aria-hidden=true")
            ui.label(t("The doctor is looking at this machine …"))
        self._shown: list[_Bar] = []
        ui.timer(DOCTOR_AFTER_SECONDS, self._examine, once=True, immediate=False)

    def show(self, used: InUse) -> None:
        wanted = 2 + 2 * len(used.gpus)
        if len(self._shown) != wanted:
            self._bars.clear()
            with self._bars:
                self._shown = [_Bar() for _ in range(wanted)]
        bars = iter(self._shown)
        for number, gpu in enumerate(used.gpus):
            which = f"{gpu.name} #{number}" if len(used.gpus) > 1 else gpu.name
            next(bars).show(t("Memory of {gpu}", gpu=which), _memory_of(gpu), _part(gpu.used, gpu.total))
            busy = t("not told") if gpu.busy is None else f"{gpu.busy:.0%}"
            next(bars).show(t("Work of {gpu}", gpu=which), busy, gpu.busy)
        memory = t("{used} of {total}", used=size(used.memory_used), total=size(used.memory_total))
        next(bars).show(t("Memory"), memory, _part(used.memory_used, used.memory_total))
        next(bars).show(t("Processor"), f"{used.processor:.0%}", used.processor)

    async def _examine(self) -> None:
        try:
            lines = (await self._studio.desk.machine())["lines"]
        except LorafitError as error:
            lines, fault = [], str(error)
        else:
            fault = ""
        if self._doctor.is_deleted:
            return
        self._doctor.clear()
        with self._doctor:
            if fault:
                notice(fault, "fault")
            else:
                self._say(lines)

    def _say(self, lines: list[dict[str, str]]) -> None:
        counts = Counter(line["level"] for line in lines)
        faults, warnings = counts["fault"], counts["warning"]
        if faults:
            level, sentence = "fault", t("The doctor found faults: mend them first, else runs fail or are wrong.")
        elif warnings:
            level, sentence = "warning", t("Training works on this machine; the doctor's warnings say what to mind.")
        else:
            level, sentence = "ok", t("The doctor says: this machine is fit for training.")
        with ui.expansion(sentence).props("dense").classes(f"home-unfold {LEVELS[level]}"):
            for line in sorted(lines, key=lambda line: list(LEVELS).index(line["level"])):
                with ui.element("div").classes("home-line"):
                    ui.label(t_core(line["level"])).classes(f"small {LEVELS[line['level']]}")
                    with ui.element("div"):
                        ui.label(f"{line['subject']}: {t_core(line['found'])}").classes("said small")
                        if line["remedy"]:
                            ui.label(t_core(line["remedy"])).classes("remedy small")


class _Bar:
    def __init__(self) -> None:
        with ui.element("div").classes("home-bar") as self._place:
            with ui.element("div").classes("between small"):
                self._name, self._value = ui.label().classes("dim"), ui.label().classes("num")
            with (
                ui.element("div")
                .classes("bar")
                .props("role=progressbar aria-valuemin=0 aria-valuemax=100") as self._bar
            ):
                self._part = ui.element("div")

    def show(self, name: str, value: str, part: float | None) -> None:
        self._name.text, self._value.text = name, value
        percent = round(100 * min(max(part or 0.0, 0.0), 1.0))
        self._bar.props["aria-label"] = name
        self._bar.props["aria-valuenow"] = str(percent)
        self._part.style(replace=f"width: {percent}%")


def _memory_of(gpu: Gpu) -> str:
    if gpu.used is None or gpu.total is None:
        return t("not told")
    return t("{used} of {total}", used=size(gpu.used), total=size(gpu.total))


def _part(used: int | None, total: int | None) -> float | None:
    return used / total if used is not None and total else None
