"""Samples to rows: several documents in a row, within a budget of tokens, a shared beginning only once.

Documents that begin alike (a system prompt, an instruction template, earlier turns) form a prefix tree: each node is a
run of tokens computed once, and a token attends to its path to the root. Nodes are laid out breadth first and siblings
by length, so that all children of a node are one slice of the row, and those of equal length one slice of that.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import numpy as np
import torch

from lorafit.records import Batch, Row, Sample, Siblings

# A node costs a few small operations in each layer; sharing fewer tokens than this is not worth them
# (benchmarks/sharing.py).
LEAST_SHARED = 64
_ODD = np.uint64(0x9E3779B97F4A7C15)


def pack(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Which sample goes into which row: best-fit decreasing, so that rows are few and full.

    A sample longer than the budget has a row to itself. The result depends on lengths and budget only.
    """
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free tokens, row), in order
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        place = bisect.bisect_left(room, (lengths[index], -1))
        if place < len(room):
            free, row = room.pop(place)
            rows[row].append(index)
        else:
            free, row = budget, len(rows)
            rows.append([index])
        bisect.insort(room, (free - lengths[index], row))
    return rows


def make_row(samples: Sequence[Sample], least_shared: int | None = LEAST_SHARED) -> Row:
    """One row from samples, with what they begin with once where that saves `least_shared` tokens; None: nowhere.

    Shapes: see Row.
    """
    return _row([samples if least_shared is None else _sorted(samples)], least_shared)


def _row(bundles: Sequence[Sequence[Sample]], least_shared: int | None) -> Row:
    """Nothing is shared between bundles, so that a row has the tokens that `_bundles` counted: what a tree saves by a
    short trunk may cost it more further on."""
    samples = [sample for bundle in bundles for sample in bundle]
    documents = [s.token_ids for s in samples]
    ends = accumulate(map(len, bundles), initial=0)
    roots = [root for first, last in pairwise(ends) for root in _roots(documents, first, last, least_shared)]
    places: list[list[np.ndarray]] = [[] for _ in samples]
    token_ids, position_ids, layout = [], [], []
    length = 0
    waiting: deque[tuple[tuple[tuple[int, int], ...], list[_Node]]] = deque([((), roots)])
    while waiting:
        path, nodes = waiting.popleft()
        nodes.sort(key=lambda node: node.tokens)
        start = length
        runs: list[tuple[int, int]] = []
        for node in nodes:
            place = (length, length + node.tokens)
            token_ids.append(documents[node.first][node.start : node.end])
            position_ids.append(np.arange(node.start, node.end))
            for document in range(node.first, node.last):
                places[document].append(np.arange(*place))
            count = runs.pop()[1] if runs and runs[-1][0] == node.tokens else 0
            runs.append((node.tokens, count + 1))
            length = place[1]
            if children := list(_children(documents, node, least_shared)):
                waiting.append((_joined(path, place), children))
        layout.append(Siblings(start, length, path, tuple(runs)))
    paths = [np.concatenate(parts) for parts in places]
    prefixes = np.empty(length, dtype=np.uint64)
    for token_ids_D, path_D in zip(documents, paths, strict=True):
        prefixes[path_D] = prefix_numbers(token_ids_D)
    predict, targets, weights = _predictions(samples, paths)
    return Row(
        token_ids=torch.from_numpy(np.concatenate(token_ids)),
        position_ids=torch.from_numpy(np.concatenate(position_ids)),
        predict=torch.from_numpy(predict),
        targets=torch.from_numpy(targets),
        weights=torch.from_numpy(weights),
        layout=tuple(layout),
        prefixes=prefixes,
    )


def make_batch(
    samples: Sequence[Sample], tokens_per_pass: int, packed: bool = True, least_shared: int | None = LEAST_SHARED
) -> Batch:
    """The rows of one update; `packed=False` gives each sample a row of its own. least_shared: see make_row."""
    if packed:
        bundles = list(_bundles(samples, tokens_per_pass, least_shared))
        rows = pack([size for size, _ in bundles], tokens_per_pass)
        groups = [[bundles[i][1] for i in row] for row in rows]
    else:
        groups = [[[sample]] for sample in samples]
    return Batch(
        rows=tuple(_row(group, least_shared) for group in groups),
        supervised_tokens=sum(s.supervised_tokens for s in samples),
        tokens=sum(len(s) for s in samples),
    )


def prefix_numbers(token_ids_T: np.ndarray) -> np.ndarray:
    """uint64 [T]: a number for each token and all before it, equal for equal beginnings (a polynomial modulo 2**64)."""
    powers_T = np.cumprod(np.full(len(token_ids_T), _ODD))
    numbers: np.ndarray = np.cumsum((token_ids_T.astype(np.uint64) + np.uint64(1)) * powers_T)
    return numbers


class _Node:
    """Tokens `start` to `end` of the documents `first` to `last`, which agree up to `end`."""

    __slots__ = ("end", "first", "last", "start")

    def __init__(self, first: int, last: int, start: int, end: int) -> None:
        self.first, self.last, self.start, self.end = first, last, start, end

    @property
    def tokens(self) -> int:
        return self.end - self.start


def _sorted(samples: Sequence[Sample]) -> list[Sample]:
    """In the order of their tokens (big-endian bytes sort as the numbers do): what begins alike stands together."""
    return sorted(samples, key=lambda s: s.token_ids.astype(">u8").tobytes())


def _roots(documents: Sequence[np.ndarray], first: int, last: int, least: int | None) -> list[_Node]:
    if least is None:
        return [_Node(i, i + 1, 0, len(documents[i])) for i in range(first, last)]
    return list(_branches(documents, first, last, 0, 0, least))


def _children(documents: Sequence[np.ndarray], node: _Node, least: int | None) -> Iterator[_Node]:
    if least is not None and node.last - node.first > 1:
        yield from _branches(documents, node.first, node.last, node.end, node.end, least)


def _branches(
    documents: Sequence[np.ndarray], first: int, last: int, start: int, agree: int, least: int
) -> Iterator[_Node]:
    """How sorted documents that agree up to `agree` go on from `start`: shared where that saves `least` tokens.

    Where the tokens up to the next fork are too few, those beyond it may still be enough for some of the documents.
    """
    while first < last and len(documents[first]) == agree:
        if agree > start:
            yield _Node(first, first + 1, start, agree)
        first += 1  # otherwise it ends where its path does
    while first < last:
        token = documents[first][agree]
        beyond = first + 1
        while beyond < last and documents[beyond][agree] == token:
            beyond += 1
        # What the two ends of a sorted group have in common, all of it has.
        common = _common(documents[first], documents[beyond - 1])
        if beyond - first == 1 or (beyond - first - 1) * (common - start) >= least:
            yield _Node(first, beyond, start, common)
        else:
            yield from _branches(documents, first, beyond, start, common, least)
        first = beyond


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """How many tokens two documents have in common at their beginning."""
    length = min(len(one), len(other))
    differs = one[:length] != other[:length]
    return int(differs.argmax()) if differs.any() else length


def _joined(path: tuple[tuple[int, int], ...], place: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    if path and path[-1][1] == place[0]:
        return (*path[:-1], (path[-1][0], place[1]))
    return (*path, place)


def _bundles(samples: Sequence[Sample], budget: int, least: int | None) -> Iterator[tuple[int, list[Sample]]]:
    """(tokens, samples): the samples of a tree together, or its parts within the budget; others one by one."""
    samples = samples if least is None else _sorted(samples)
    documents = [s.token_ids for s in samples]
    for root in _roots(documents, 0, len(documents), least):
        first, size = root.first, len(documents[root.first])
        for last in range(root.first + 1, root.last):
            larger = _size(documents[first : last + 1], least)
            if larger > budget:
                yield size, list(samples[first:last])
                first, larger = last, len(documents[last])
            size = larger
        yield size, list(samples[first : root.last])


def _size(documents: Sequence[np.ndarray], least: int | None) -> int:
    """How many tokens sorted documents have when they share their beginnings."""
    size, waiting = 0, _roots(documents, 0, len(documents), least)
    while waiting:
        node = waiting.pop()
        size += node.tokens
        waiting += _children(documents, node, least)
    return size


def _predictions(samples: Sequence[Sample], paths: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """predict, targets, weights of a row: a next token that several documents train at one place is there once."""
    pairs: list[np.ndarray] = []
    for sample, path_T in zip(samples, paths, strict=True):
        # trained[0] of a document is never set, so a target always has its predecessor in the same document.
        targets = np.flatnonzero(sample.trained)
        pairs.append(np.stack([path_T[targets - 1], sample.token_ids[targets]], axis=1))
    unique, counts = np.unique(np.concatenate(pairs), axis=0, return_counts=True)
    return unique[:, 0].copy(), unique[:, 1].copy(), counts.astype(np.float32)
