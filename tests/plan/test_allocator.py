"""The replay of the caching allocator: worked examples, a slow reference, and invariants."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorafit.plan.allocator import MIB, Block, CachingAllocator, Failure

KIB = 1024


def counts(allocator: CachingAllocator) -> tuple[int, int]:
    return allocator.allocated, allocator.reserved


# ---------------------------------------------------------------- worked by hand from the rules


def test_sizes_are_rounded_and_small_ones_share_a_segment() -> None:
    a = CachingAllocator()
    first = a.malloc(1)
    assert counts(a) == (512, 2 * MIB)
    a.malloc(513)
    assert counts(a) == (512 + 1024, 2 * MIB)
    a.malloc(MIB)  # 2 MiB less 1536 bytes are left: enough
    assert counts(a) == (MIB + 1536, 2 * MIB)
    a.malloc(MIB)  # not enough now
    assert counts(a) == (2 * MIB + 1536, 4 * MIB)
    a.free(first)
    assert counts(a) == (2 * MIB + 1024, 4 * MIB)
    assert (a.peak_allocated, a.peak_reserved) == (2 * MIB + 1536, 4 * MIB)


def test_segments_of_the_large_pool() -> None:
    for size, segment in [
        (MIB + 1, 20 * MIB),
        (10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB),
        (10 * MIB + 1, 12 * MIB),
        (33 * MIB, 34 * MIB),
    ]:
        a = CachingAllocator()
        a.malloc(size)
        assert a.reserved == segment, size


def test_a_large_block_is_split_only_when_more_than_a_mebibyte_remains() -> None:
    a = CachingAllocator()
    a.malloc(11 * MIB)  # of 12: the rest of 1 MiB goes with it, and counts as allocated
    assert counts(a) == (12 * MIB, 12 * MIB)
    b = CachingAllocator()
    b.malloc(11 * MIB - 512)
    assert counts(b) == (11 * MIB - 512, 12 * MIB)


def test_the_smallest_block_that_fits_is_taken_and_neighbours_are_joined() -> None:
    a = CachingAllocator()
    big, small = a.malloc(40 * MIB), a.malloc(30 * MIB)
    a.free(big)
    a.free(small)
    again = a.malloc(30 * MIB)
    assert again is not None and again.size == 30 * MIB
    assert counts(a) == (30 * MIB, 70 * MIB)
    parts = [a.malloc(10 * MIB) for _ in range(4)]  # the segment of 40 MiB, cut in four
    assert counts(a) == (70 * MIB, 70 * MIB)
    for part in (parts[0], parts[2], parts[3], parts[1]):
        a.free(part)
    assert a.malloc(40 * MIB) is not None and a.reserved == 70 * MIB, "joined again"


def test_at_the_cap_whole_free_segments_are_given_back() -> None:
    a = CachingAllocator(cap=100 * MIB)
    whole, cut = a.malloc(40 * MIB), a.malloc(40 * MIB)
    a.free(whole)
    a.free(cut)
    a.malloc(10 * MIB)  # cuts the first segment: it cannot be given back
    a.malloc(60 * MIB)
    assert (a.reserved, a.retries, a.failure) == (100 * MIB, 1, None)
    a.malloc(50 * MIB)
    # asked, and what stood when nothing more could be given back
    assert a.failure == Failure(50 * MIB, 100 * MIB, 70 * MIB) and a.retries == 2
    assert (a.peak_allocated, a.peak_reserved) == (120 * MIB, 150 * MIB), "the replay goes on, without a cap"
    a.malloc(200 * MIB)
    assert a.failure.asked == 50 * MIB and a.retries == 2


def test_expandable_segments_are_mapped_by_pages() -> None:
    a = CachingAllocator(expandable=True)
    a.malloc(1)
    assert counts(a) == (512, 2 * MIB)
    first = a.malloc(11 * MIB)
    assert counts(a) == (512 + 11 * MIB, 22 * MIB)
    second = a.malloc(30 * MIB)  # 9 MiB of the page are left: 21 more need two pages
    assert counts(a) == (512 + 41 * MIB, 62 * MIB)
    a.free(first)
    a.free(second)
    a.malloc(60 * MIB)  # one free block of three pages
    assert counts(a) == (512 + 60 * MIB, 62 * MIB)
    a.malloc(70 * MIB + 512)  # and 512 bytes more than three and a half pages
    assert counts(a) == (1024 + 130 * MIB, 142 * MIB)


def test_expandable_pages_within_free_blocks_are_given_back_at_the_cap() -> None:
    a = CachingAllocator(cap=100 * MIB, expandable=True)
    first = a.malloc(50 * MIB)
    a.malloc(10 * MIB)
    a.free(first)  # 50 MiB free at the beginning: of the pages, two lie within
    assert counts(a) == (10 * MIB, 60 * MIB)
    a.malloc(75 * MIB)  # four pages more would be 140 MiB; without the two it is 100
    assert (a.reserved, a.retries, a.failure) == (100 * MIB, 1, None)
    a.malloc(45 * MIB)  # fills the hole: the 10 MiB that are free behind it and two pages
    assert a.failure == Failure(45 * MIB, 100 * MIB, 85 * MIB)
    assert counts(a) == (130 * MIB, 140 * MIB)


def test_nothing_and_twice() -> None:
    a = CachingAllocator()
    assert a.malloc(0) is None
    a.free(None)
    assert counts(a) == (0, 0)
    block = a.malloc(100)
    a.free(block)
    with pytest.raises(ValueError, match="freed already"):
        a.free(block)


# ---------------------------------------------------------------- a slow reference


class Reference:
    """The same rules without any structure: lists that are scanned, and coalescing by starting over.

    A part is [address, size, state], the state "used", "free" or "unmapped"; a segment is a list of parts.
    """

    def __init__(self, cap: int | None, expandable: bool) -> None:
        self.cap, self.expandable = cap, expandable
        self.pools: dict[bool, list[list[list]]] = {True: [], False: []}
        self.retries, self.failure, self.peak_allocated, self.peak_reserved = 0, None, 0, 0
        if expandable:
            self.pools = {True: [[[0, 1 << 60, "unmapped"]]], False: [[[0, 1 << 60, "unmapped"]]]}
        self.ends = {True: 0, False: 0}

    def parts(self) -> list[list]:
        return [part for pool in self.pools.values() for segment in pool for part in segment]

    @property
    def allocated(self) -> int:
        return sum(size for _, size, state in self.parts() if state == "used")

    @property
    def reserved(self) -> int:
        return sum(size for _, size, state in self.parts() if state != "unmapped")

    def tidy(self) -> None:
        for pool in self.pools.values():
            for segment in pool:
                i = 0
                while i + 1 < len(segment):
                    if segment[i][2] == segment[i + 1][2] != "used":
                        segment[i][1] += segment.pop(i + 1)[1]
                    else:
                        i += 1
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        self.peak_reserved = max(self.peak_reserved, self.reserved)

    def malloc(self, asked: int) -> tuple[bool, int]:
        size = (asked + 511) // 512 * 512
        small = size <= MIB
        place = self.best(small, size)
        if place is None and not self.more(small, size):
            self.retries += 1
            self.give_back()
            if not self.more(small, size):
                self.failure = Failure(size, self.reserved, self.allocated)
                self.cap = None
                self.more(small, size)
        if place is None:
            place = self.grown
        segment, i = place
        address, there, _ = segment[i]
        least = 512 if small or self.expandable else MIB + 512
        kept = size if there - size >= least else there
        segment[i] = [address, kept, "used"]
        if kept < there:
            segment.insert(i + 1, [address + kept, there - kept, "free"])
        self.tidy()
        return small, address

    def best(self, small: bool, size: int):
        found = []
        for segment in self.pools[small]:
            for i, (address, there, state) in enumerate(segment):
                if state == "free":
                    unmapped = i + 1 < len(segment) and segment[i + 1][2] == "unmapped"
                    found.append((there, address, there + (segment[i + 1][1] if unmapped else 0), segment, i))
        found = sorted((f for f in found if f[0] >= size), key=lambda f: f[:2])
        if not found:
            return None
        k = 0
        while self.expandable and k + 1 < len(found) and found[k + 1][2] < found[k][2]:
            k += 1
        return found[k][3:]

    def more(self, small: bool, size: int) -> bool:
        if not self.expandable:
            new = 2 * MIB if small else 20 * MIB if size < 10 * MIB else (size + 2 * MIB - 1) // (2 * MIB) * (2 * MIB)
            if self.cap is not None and self.reserved + new > self.cap:
                return False
            segment = [[self.ends[small], new, "free"]]
            self.ends[small] += new
            self.pools[small].append(segment)
            self.grown = (segment, 0)
            return True
        # page by page from the lowest address with room
        page = 2 * MIB if small else 20 * MIB
        segment = self.pools[small][0]
        for i, part in enumerate(segment):
            if part[2] != "unmapped":
                continue
            start = i - 1 if i and segment[i - 1][2] == "free" else i
            end = start
            while end < len(segment) and segment[end][2] != "used":
                end += 1
            if sum(there for _, there, _ in segment[start:end]) >= size:
                break
        begin = segment[start][0]
        while True:
            segment = self.pools[small][0]
            at = next(i for i, p in enumerate(segment) if p[0] == begin)
            if segment[at][2] == "free" and segment[at][1] >= size:
                self.grown = (segment, at)
                return True
            hole = at if segment[at][2] == "unmapped" else at + 1
            address, there, _ = segment[hole]
            new = min((size - (address - begin) + page - 1) // page * page, there)
            if self.cap is not None and self.reserved + new > self.cap:
                return False
            segment[hole : hole + 1] = [[address, new, "free"], [address + new, there - new, "unmapped"]]
            segment[:] = [p for p in segment if p[1]]
            self.tidy()

    def give_back(self) -> None:
        for small, pool in self.pools.items():
            page = 2 * MIB if small else 20 * MIB
            if not self.expandable:
                pool[:] = [segment for segment in pool if [state for _, _, state in segment] != ["free"]]
                continue
            new = []
            for address, there, state in pool[0]:
                first, end = (address + page - 1) // page * page, (address + there) // page * page
                if state == "free" and end > first:
                    new += [[address, first - address, "free"], [first, end - first, "unmapped"]]
                    new += [[end, address + there - end, "free"]]
                else:
                    new.append([address, there, state])
            pool[0][:] = [p for p in new if p[1]]
        self.tidy()

    def free(self, handle: tuple[bool, int]) -> None:
        small, address = handle
        part = next(p for s in self.pools[small] for p in s if p[0] == address and p[2] == "used")
        part[2] = "free"
        self.tidy()


def check_invariants(allocator: CachingAllocator, live: list[Block]) -> None:
    """No overlap, nothing free beside something free, and the sums agree with the counts."""
    heads = {}
    free = [entry[2] for pool in (allocator._small, allocator._large) for entry in pool.free]
    unmapped = [entry[1] for pool in (allocator._small, allocator._large) for entry in pool.unmapped]
    for block in (*live, *free, *unmapped):
        while block.prev is not None:
            block = block.prev
        heads[id(block)] = block
    seen = []
    for head in heads.values():
        block: Block | None = head
        while block is not None:
            seen.append(block)
            if block.next is not None:
                assert block.address + block.size == block.next.address and block.next.prev is block
                assert block.used or block.next.used or block.mapped != block.next.mapped
            block = block.next
    for pool in (allocator._small, allocator._large):
        spans = sorted((block.address, block.size) for block in seen if block.pool is pool)
        assert all(a + size <= b for (a, size), (b, _) in pairwise(spans))
    assert {id(b) for b in seen if b.used} == {id(b) for b in live}
    assert len(seen) == len(live) + len(free) + len(unmapped)
    assert sum(b.size for b in seen if b.used) == allocator.allocated <= allocator.reserved
    assert sum(b.size for b in seen if b.mapped) == allocator.reserved


SIZES = st.one_of(
    st.integers(1, 4 * KIB),
    st.integers(1, 3 * MIB),
    st.integers(MIB - 1024, MIB + 1024),
    st.integers(1, 64).map(lambda n: n * MIB),
    st.integers(9 * MIB, 45 * MIB),
)
# a size to allocate, or the place in the list of living blocks of one to free
EVENTS = st.lists(st.one_of(SIZES, st.floats(0, 1, exclude_max=True)), max_size=80)


@settings(max_examples=400, deadline=None)
@given(events=EVENTS, cap=st.one_of(st.none(), st.integers(4, 250).map(lambda n: n * MIB)), expandable=st.booleans())
def test_the_slow_reference_agrees_after_every_event(
    events: list[int | float], cap: int | None, expandable: bool
) -> None:
    fast, slow = CachingAllocator(cap, expandable), Reference(cap, expandable)
    live: list[tuple[Block, tuple[bool, int]]] = []
    for event in events:
        if isinstance(event, int):
            block = fast.malloc(event)
            assert block is not None
            handle = slow.malloc(event)
            assert (block.pool is fast._small, block.address) == handle
            live.append((block, handle))
        elif live:
            block, handle = live.pop(int(event * len(live)))
            fast.free(block)
            slow.free(handle)
        for name in ("allocated", "reserved", "peak_allocated", "peak_reserved", "retries", "failure"):
            assert getattr(fast, name) == getattr(slow, name), name
        check_invariants(fast, [block for block, _ in live])


@pytest.mark.parametrize(("expandable", "cap"), [(False, 400 * MIB), (True, 270 * MIB)])
def test_a_long_trace_under_pressure_agrees(expandable: bool, cap: int) -> None:
    """Long enough for holes, many retries and, at last, a failure."""
    draw = random.Random(0)
    fast, slow = CachingAllocator(cap, expandable), Reference(cap, expandable)
    live: list[tuple[Block, tuple[bool, int]]] = []
    for step in range(700):
        size = draw.choice([3 * KIB, 700 * KIB, 2 * MIB, 15 * MIB, 40 * MIB]) if step < 690 else 90 * MIB
        if step >= 690 or (fast.allocated + size < 250 * MIB and draw.random() < 0.6):
            block = fast.malloc(size)
            assert block is not None
            live.append((block, slow.malloc(size)))
        elif live:
            block, handle = live.pop(draw.randrange(len(live)))
            fast.free(block)
            slow.free(handle)
        assert counts(fast) == (slow.allocated, slow.reserved)
    assert fast.retries == slow.retries > 1 and fast.failure == slow.failure is not None
    assert fast.peak_reserved == slow.peak_reserved
