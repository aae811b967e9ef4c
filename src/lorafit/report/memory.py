"""The plan against what was measured: a stacked bar and a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lorafit.report.read import Series
from lorafit.report.words import is_number

# The parts of a plan in the order of the terminal's bar (`lorafit plan`), each with its CSS class.
PARTS = {
    "base weights": "weights",
    "quantisation constants": "constants",
    "adapter": "adapter",
    "gradients": "gradients",
    "optimizer": "optimizer",
    "activations": "activations",
    "backward": "backward",
    "logits and loss": "logits",
    "workspaces": "workspaces",
    "allocator slack": "slack",
    "heap and compiled products": "heap",
    "context and libraries": "context",
}
# Parts that fill less of the budget than this are drawn a second time, larger.
SMALL = 0.25


@dataclass(frozen=True, slots=True)
class Part:
    """share: of what is needed."""

    name: str
    style: str
    bytes: int
    share: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One quantity that was planned and measured, bytes; None where it was not planned."""

    what: str
    planned: float | None
    measured: float

    @property
    def difference(self) -> float | None:
        """Of the plan from what was measured: above 0 it asked for more."""
        return self.planned / self.measured - 1 if self.planned is not None and self.measured else None


@dataclass(frozen=True, slots=True)
class PlanFigure:
    """scale: bytes that the whole bar stands for; budget_at: where the budget ends, in percent of it."""

    plan: dict[str, Any]
    parts: tuple[Part, ...]
    needed: float
    budget: float
    measured: tuple[Measured, ...]

    @property
    def scale(self) -> float:
        return max(self.needed, self.budget)

    @property
    def budget_at(self) -> float:
        return self.budget / self.scale * 100

    @property
    def enlarged(self) -> bool:
        return self.needed < SMALL * self.scale


def plan_figure(plan: dict[str, Any] | None, updates: Series) -> PlanFigure | None:
    """None when there is no plan, or none that can be drawn."""
    plan = plan or {}
    listed, needed, budget = plan.get("parts"), plan.get("needed"), plan.get("budget")
    if not isinstance(listed, dict) or not is_number(needed) or not is_number(budget) or not needed:
        return None
    names = [*(name for name in PARTS if name in listed), *(name for name in listed if name not in PARTS)]
    parts = tuple(
        Part(name, PARTS.get(name, "context"), listed[name], listed[name] / needed)
        for name in names
        if is_number(listed[name])
    )
    return PlanFigure(plan, parts, needed, budget, tuple(_measured(plan, updates)))


def counted_by_cuda(plan: dict[str, Any] | None) -> bool:
    """Whether memory_bytes are of CUDA's allocator: only there the plan replays one."""
    return plan is not None and plan.get("reserved") is not None


def _measured(plan: dict[str, Any], updates: Series) -> list[Measured]:
    rows = []
    watched = plan.get("measured")
    if isinstance(watched, dict) and is_number(watched.get("measured")) and is_number(watched.get("predicted")):
        what = f"tensors at the peak of update {watched.get('update')}"
        rows.append(Measured(what, watched["predicted"], watched["measured"]))
    peak = updates.most("peak_memory_bytes")
    if peak and counted_by_cuda(plan):
        planned = plan.get("peak")
        rows.append(Measured("tensors at the peak of the run", planned if is_number(planned) else None, peak))
    elif peak:
        rows.append(Measured("the whole process at its peak, libraries included", None, peak))
    return rows
