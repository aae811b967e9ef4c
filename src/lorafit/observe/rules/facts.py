"""What the rules look at: plain values of a run, as its files hold them. What is not known is None or empty."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """recipe: nested, as recipe.yaml. data: data.json. updates, held_out: the two kinds of lines of metrics.jsonl, in
    order; hardware: lines of hardware.jsonl. samples: lines of evaluation/samples.jsonl. planned: updates of the whole
    run; trained, parameters: counts of weights. status: status.json, and seconds since its heartbeat. ended: no more
    updates will come.
    """

    recipe: Values = field(default_factory=dict)
    data: Values = field(default_factory=dict)
    updates: Sequence[Values] = ()
    held_out: Sequence[Values] = ()
    hardware: Sequence[Values] = ()
    samples: Sequence[Values] = ()
    planned: int | None = None
    trained: int | None = None
    parameters: int | None = None
    status: Values = field(default_factory=dict)
    silent_seconds: float | None = None
    ended: bool = False

    def setting(self, name: str) -> Any:
        """A setting by its dotted name; None where the recipe does not say."""
        value: Any = self.recipe
        for part in name.split("."):
            if not isinstance(value, Mapping):
                return None
            value = value.get(part)
        return value

    @property
    def progress(self) -> float:
        """Share of the planned updates that are done; 1 where the plan is not known."""
        if not self.planned or not self.updates:
            return 1.0
        return float(self.updates[-1]["update"] / self.planned)

    @property
    def is_full(self) -> bool:
        return bool(self.setting("adapter.method") == "none")

    @property
    def learning_rate(self) -> float | None:
        """The peak rate as the recipe gives it; None for `auto`."""
        rate = self.setting("train.learning_rate")
        return float(rate) if isinstance(rate, int | float) else None

    @property
    def rows(self) -> int | None:
        """Training rows."""
        rows: int | None = self.data.get("training", {}).get("samples")
        return rows

    @property
    def supervised_tokens(self) -> int | None:
        """Tokens that one pass over the training rows is trained on."""
        tokens: int | None = self.data.get("training", {}).get("supervised_tokens")
        return tokens

    @property
    def losses(self) -> list[tuple[int, float]]:
        """(update, loss) of the updates whose loss is finite."""
        return list(_finite(self.updates, "loss"))

    @property
    def held_out_losses(self) -> list[tuple[int, float]]:
        return list(_finite(self.held_out, "held_out_loss"))

    def column(self, name: str) -> list[tuple[int, float]]:
        """(update, value) where the column is there and finite."""
        return list(_finite(self.updates, name))


def _finite(lines: Sequence[Values], name: str) -> Iterator[tuple[int, float]]:
    for line in lines:
        value = line.get(name)
        if value is not None and math.isfinite(value):
            yield int(line["update"]), float(value)
