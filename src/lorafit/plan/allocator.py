"""PyTorch's CUDA caching allocator on plain numbers: what a trace of births and deaths reserves, and whether it fits.

The rules are those of c10/cuda/CUDACachingAllocator.cpp and c10/core/AllocatorConfig.h (torch 2.13, the settings that
hold when nobody changes them), for one device and one stream:

    size          rounded up to 512 bytes; up to 1 MiB it is of the small pool, else of the large one
    block         the smallest free one of the pool that is large enough, of equals that with the lowest address
    new segment   small 2 MiB; large 20 MiB below 10 MiB, else the size rounded up to 2 MiB
    split         small: when at least 512 bytes remain; large: when more than 1 MiB remains, else the whole is taken
    free          joined with free neighbours of its segment; the segment is kept
    no memory     give back every segment that is free as a whole, try once more, and only then give up

`max_split_size` is unlimited unless set, so that its rules for oversize blocks never apply.

With expandable segments each pool is one range of addresses that grows: pages (small 2 MiB, large 20 MiB) are mapped
at the lowest addresses where the free and unmapped blocks together are large enough; a free block is split when 512
bytes remain; without memory, each page that lies within a free block is given back. The real range ends at 9/8 of the
card's memory, ours never does.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

MIB = 1 << 20
ROUNDING = 512  # kMinBlockSize
SMALL = MIB  # kSmallSize: the largest size of the small pool
SMALL_SEGMENT = 2 * MIB  # kSmallBuffer; also the page of the small pool's expandable segment
LARGE_SEGMENT = 20 * MIB  # large_segment_size; also the page of the large pool's expandable segment
OWN_SEGMENT = 10 * MIB  # kMinLargeAlloc: from here on a segment is as large as the request, rounded up
SEGMENT_ROUNDING = 2 * MIB  # kRoundLarge

_ENDLESS = 1 << 60


@dataclass(frozen=True, slots=True)
class Failure:
    """The first request (rounded) that found no memory, after all that was cached had been given back; in bytes."""

    asked: int
    reserved: int
    allocated: int


class Block:
    """A run of bytes within a segment. To callers it is a handle: what `malloc` returns and `free` takes back."""

    __slots__ = ("address", "mapped", "next", "pool", "prev", "size", "used")

    def __init__(self, pool: _Pool, address: int, size: int, mapped: bool = True) -> None:
        self.pool = pool
        self.address = address
        self.size = size
        self.mapped = mapped
        self.used = False
        self.prev: Block | None = None
        self.next: Block | None = None

    def cut(self, size: int) -> Block:
        """Keep the first `size` bytes; what follows becomes a block of its own, which is returned."""
        rest = Block(self.pool, self.address + size, self.size - size, self.mapped)
        rest.prev, rest.next = self, self.next
        if self.next is not None:
            self.next.prev = rest
        self.next, self.size = rest, size
        return rest

    def absorb_neighbours(self) -> None:
        """Join the neighbours that are free and mapped as this one is, and take them off their lists."""
        before, after = self.prev, self.next
        if before is not None and not before.used and before.mapped == self.mapped:
            before.pool.remove(before)
            self.address, self.size, self.prev = before.address, self.size + before.size, before.prev
            if self.prev is not None:
                self.prev.next = self
        if after is not None and not after.used and after.mapped == self.mapped:
            after.pool.remove(after)
            self.size, self.next = self.size + after.size, after.next
            if self.next is not None:
                self.next.prev = self

    def reach(self) -> int:
        """The size it can grow to: its own, and that of the unmapped block behind it."""
        return self.size + (self.next.size if self.next is not None and not self.next.mapped else 0)


class _Pool:
    """Blocks that are not in use: the free ones by size and address, the unmapped ones by address."""

    def __init__(self, small: bool, expandable: bool) -> None:
        self.small = small
        self.page = SMALL_SEGMENT if small else LARGE_SEGMENT
        self.free: list[tuple[int, int, Block]] = []
        self.unmapped: list[tuple[int, Block]] = []
        self.end = 0  # the address of the next segment
        if expandable:
            self.add(Block(self, 0, _ENDLESS, mapped=False))

    def add(self, block: Block) -> None:
        if block.mapped:
            insort(self.free, (block.size, block.address, block))
        else:
            insort(self.unmapped, (block.address, block))

    def remove(self, block: Block) -> None:
        if block.mapped:
            del self.free[bisect_left(self.free, (block.size, block.address))]
        else:
            del self.unmapped[bisect_left(self.unmapped, (block.address,))]


class CachingAllocator:
    """A replay of the allocator; all counts are bytes.

    cap: what the process may reserve: the card's memory without the context. None: as much as it likes.
    expandable: as under `expandable_segments:True`.

    allocated, reserved: what torch.cuda.memory_allocated and memory_reserved would say now (so an allocated block
    counts in whole, with what was too little to split off); peak_allocated, peak_reserved: their maxima.
    retries: how often cached memory had to be given back, which is slow on a real card (num_alloc_retries).
    failure: the first request that did not fit, or None. From there on the cap no longer holds and the replay goes
    on, so that the peaks tell what the trace would have needed.
    """

    def __init__(self, cap: int | None = None, expandable: bool = False) -> None:
        self.cap = cap
        self.expandable = expandable
        self.allocated = self.reserved = self.peak_allocated = self.peak_reserved = 0
        self.retries = 0
        self.failure: Failure | None = None
        self._small = _Pool(True, expandable)
        self._large = _Pool(False, expandable)

    def malloc(self, size: int) -> Block | None:
        """A block of at least `size` bytes; None, which `free` takes too, for none: as torch's null pointer."""
        if size == 0:
            return None
        rounded = -(-size // ROUNDING) * ROUNDING
        pool = self._small if rounded <= SMALL else self._large
        block = self._best_fit(pool, rounded) or self._more(pool, rounded)
        rest = block.size - rounded
        if rest > SMALL or (rest >= ROUNDING and (pool.small or self.expandable)):
            pool.add(block.cut(rounded))
        block.used = True
        self.allocated += block.size
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        return block

    def free(self, block: Block | None) -> None:
        """Give back what `malloc` returned. Raises ValueError when that was done before."""
        if block is None:
            return
        if not block.used:
            raise ValueError(f"the block at {block.address} was freed already")
        block.used = False
        self.allocated -= block.size
        block.absorb_neighbours()
        block.pool.add(block)

    def _best_fit(self, pool: _Pool, size: int) -> Block | None:
        free = pool.free
        place = bisect_left(free, (size,))
        if place == len(free):
            return None
        if self.expandable:
            # What could still grow is kept back, as far as the next larger block is better used.
            while place + 1 < len(free) and free[place + 1][2].reach() < free[place][2].reach():
                place += 1
        return free.pop(place)[2]

    def _more(self, pool: _Pool, size: int) -> Block:
        grow = self._grown if self.expandable else self._segment
        block = grow(pool, size)
        if block is None:
            self.retries += 1
            self._release()
            block = grow(pool, size)
        if block is None:
            self.failure = Failure(size, self.reserved, self.allocated)
            block = grow(pool, size)
            assert block is not None  # without a cap there is always more
        return block

    def _reserve(self, size: int) -> bool:
        """Whether the card gives that much more."""
        if self.cap is not None and self.failure is None and self.reserved + size > self.cap:
            return False
        self.reserved += size
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        return True

    def _segment(self, pool: _Pool, size: int) -> Block | None:
        if size < OWN_SEGMENT:
            segment = pool.page
        else:
            segment = -(-size // SEGMENT_ROUNDING) * SEGMENT_ROUNDING
        if not self._reserve(segment):
            return None
        pool.end += segment
        return Block(pool, pool.end - segment, segment)

    def _grown(self, pool: _Pool, size: int) -> Block | None:
        block = _lowest_room(pool, size)
        if not block.mapped and not self._map(block, size):
            return None
        while block.size < size:
            behind = block.next
            assert behind is not None and not behind.mapped
            if not self._map(behind, size - block.size):
                return None
            block = behind  # it absorbed the block before it
        pool.remove(block)
        return block

    def _map(self, block: Block, size: int) -> bool:
        """Map the first `size` bytes of an unmapped block, to the end of the page, and join what is free around."""
        pool = block.pool
        mapped = min(-(-size // pool.page) * pool.page, block.size)
        if not self._reserve(mapped):
            return False
        pool.remove(block)
        if mapped < block.size:
            pool.add(block.cut(mapped))
        block.mapped = True
        block.absorb_neighbours()
        pool.add(block)
        return True

    def _release(self) -> None:
        for pool in (self._large, self._small):
            for _, _, block in list(pool.free):
                if self.expandable:
                    self._unmap(block)
                elif block.prev is None and block.next is None:
                    pool.remove(block)
                    self.reserved -= block.size

    def _unmap(self, block: Block) -> None:
        """Give back the pages that lie wholly within a free block."""
        pool = block.pool
        first = -(-block.address // pool.page) * pool.page
        end = (block.address + block.size) // pool.page * pool.page
        if end <= first:
            return
        pool.remove(block)
        if block.address < first:
            head, block = block, block.cut(first - block.address)
            pool.add(head)
        if end - first < block.size:
            pool.add(block.cut(end - first))
        self.reserved -= block.size
        block.mapped = False
        block.absorb_neighbours()
        pool.add(block)


def _lowest_room(pool: _Pool, size: int) -> Block:
    """The block of the lowest address from which the free and unmapped blocks in a row hold `size` bytes."""
    for _, hole in pool.unmapped:
        start = hole if hole.prev is None or hole.prev.used else hole.prev
        room = 0
        at: Block | None = start
        while room < size and at is not None and not at.used:
            room, at = room + at.size, at.next
        if room >= size:
            return start
    raise AssertionError("the range of addresses has no end")
