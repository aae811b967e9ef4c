"""What the server counts, as Prometheus reads it (text format 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """Seconds, counted by the bounds of BUCKETS."""

    def __init__(self, name: str, about: str) -> None:
        self.name, self.about = name, about
        self._counts = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(BUCKETS, seconds)] += 1
        self._sum += seconds

    def lines(self) -> list[str]:
        found, total = _head(self.name, "histogram", self.about), 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self._counts, strict=True):
            total += count
            found.append(f'{self.name}_bucket{{le="{bound}"}} {total}')
        return [*found, f"{self.name}_sum {self._sum:.6f}", f"{self.name}_count {total}"]


class Figures:
    """Written by the event loop alone."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.tokens: Counter[tuple[str, str]] = Counter()
        self.cancelled = 0
        self.latency = Histogram("lorafit_request_seconds", "From a request's arrival to its end.")
        self.first_piece = Histogram(
            "lorafit_first_piece_seconds", "From a streamed request's arrival to its first text."
        )

    def ended(self, endpoint: str, model: str, status: int, seconds: float) -> None:
        self.requests[endpoint, model, status] += 1
        self.latency.add(seconds)

    def counted(self, model: str, usage: Mapping[str, int]) -> None:
        self.tokens[model, "in"] += usage["prompt_tokens"]
        self.tokens[model, "out"] += usage["completion_tokens"]

    def text(self, now: Mapping[str, tuple[str, str, float]]) -> str:
        """All of it. now: what is read at this moment, name to (type, about, value)."""
        lines = _head("lorafit_requests_total", "counter", "Requests for completions that have ended.")
        for (endpoint, model, status), count in sorted(self.requests.items()):
            labels = f'endpoint="{endpoint}",model="{_escaped(model)}",status="{status}"'
            lines.append(f"lorafit_requests_total{{{labels}}} {count}")
        for way, about in (("in", "Prompt tokens read."), ("out", "Tokens generated.")):
            name = f"lorafit_tokens_{way}_total"
            lines += _head(name, "counter", about)
            lines += [
                f'{name}{{model="{_escaped(model)}"}} {count}'
                for (model, which), count in sorted(self.tokens.items())
                if which == way
            ]
        gone = ("counter", "Requests whose client went away.", float(self.cancelled))
        for name, (kind, about, value) in {"lorafit_cancelled_total": gone, **now}.items():
            lines += [*_head(name, kind, about), f"{name} {value:g}"]
        return "\n".join([*lines, *self.latency.lines(), *self.first_piece.lines()]) + "\n"


def _head(name: str, kind: str, about: str) -> list[str]:
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
