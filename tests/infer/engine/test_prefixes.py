from __future__ import annotations

from lorafit.infer.engine import Request
from lorafit.infer.engine.prefixes import LEAST_GENERATED, plan

A, B = tuple(range(150)), tuple(range(300, 320))


def paths(requests: list[Request]) -> list[list[int]]:
    """The lengths of the parts of each request's shared beginning."""
    found = {number: [len(p.token_ids) for p in prefix.path] if prefix else [] for number, prefix in plan(requests)}
    for number, prefix in plan(requests):
        assert prefix is None or prefix.begins(requests[number].prompt)
        assert prefix is None or prefix.length < len(requests[number].prompt)
    return [found[number] for number in range(len(requests))]


def test_beginnings_are_nested_and_worth_it() -> None:
    scored = [Request((*A, *B, i), continuation=(j,)) for i in range(2) for j in range(3)]
    other = [Request((*A, 7, i), continuation=(9,)) for i in range(2)]
    # The last token of a prompt is never shared.
    assert paths(scored + other) == [[150, 20]] * 6 + [[150]] * 2
    generated = [Request((*A, *B, i), 4) for i in range(2)] + [Request((*A, 7, 3), 4)]
    assert paths(generated) == [[150]] * 3
    assert paths([Request(A[:LEAST_GENERATED], 4)] * 2) == [[], []]
    assert paths([Request(A[: LEAST_GENERATED + 1], 4)] * 2) == [[LEAST_GENERATED]] * 2
    assert paths([Request(A, 4, adapter=name) for name in (None, "law", "law")]) == [[], [149], [149]]
    assert paths([]) == []


def test_those_that_begin_alike_stand_together_the_longest_first() -> None:
    requests = [Request((*start, *range(n)), 4) for n, start in [(3, A), (9, B), (8, A), (2, B), (5, A), (1, ())]]
    order = [number for number, _ in plan(requests)]
    assert sorted(order) == list(range(6))
    places = [order.index(number) for number in (2, 4, 0)]
    assert places == list(range(places[0], places[0] + 3))


def test_a_long_chain_of_forks_needs_no_recursion() -> None:
    requests = [Request((*range(n), 5000), 4) for n in range(1, 3000, 2)]
    assert len(plan(requests)) == 1500
