"""Keys and values of what is being answered, within a fixed number of tokens.

What is known of a prompt is written into a segment, at once or in chunks. A segment that several requests begin with
stays as it is and is read by all of them; the rest of a prompt is moved to a slot of a slab when it is whole, and grows
there token by token. The requests of a slab have the same beginning and about the same length, and stand in its first
slots: so their attention is a few products over views, without gathering.

Shapes: G key/value heads, P tokens of a segment, S slots, C capacity of a slot, D head dimension.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from torch import Tensor

SMALLEST_SLOT = 32
Member = TypeVar("Member")


class Segment:
    """A run of tokens, written once from its beginning: keys and values [G, P, D] of each layer."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.filled = 0
        self.dropped = False
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def write(self, layer: int, key_GLD: Tensor, value_GLD: Tensor) -> None:
        """Put L tokens behind those that are filled. The caller moves `filled` on when all layers have theirs."""
        if layer not in self._layers:
            self._layers[layer] = (_like(key_GLD, self.tokens), _like(value_GLD, self.tokens))
        end = self.filled + key_GLD.shape[1]
        for whole_GPD, part_GLD in zip(self._layers[layer], (key_GLD, value_GLD), strict=True):
            whole_GPD[:, self.filled : end] = part_GLD

    def read(self, layer: int, end: int) -> tuple[Tensor, Tensor]:
        """The first `end` tokens: [G, end, D] each."""
        key_GPD, value_GPD = self._layers[layer]
        return key_GPD[:, :end], value_GPD[:, :end]

    @property
    def layers(self) -> dict[int, tuple[Tensor, Tensor]]:
        return self._layers


def _like(x_GLD: Tensor, tokens: int) -> Tensor:
    return x_GLD.new_empty(x_GLD.shape[0], tokens, x_GLD.shape[2])


class Slab(Generic[Member]):
    """Slots of equal capacity. members[i] has slot i, whose first lengths[i] tokens are filled."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.slots = 0
        self.promised = 0  # to requests whose prompt is still being computed
        self.members: list[Member] = []
        self.lengths: list[int] = []
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def tokens(self) -> int:
        return self.slots * self.capacity

    @property
    def token_bytes(self) -> int:
        """What the keys and values of a token take; 0 before the first member."""
        return sum(x.nbytes for pair in self._layers.values() for x in pair) // max(1, self.tokens)

    @property
    def taken(self) -> int:
        return len(self.members) + self.promised

    def resize(self, slots: int) -> None:
        """Change the number of slots, layer by layer, so that no more than one layer is there twice."""
        for layer, pair in self._layers.items():
            self._layers[layer] = (_resized(pair[0], slots), _resized(pair[1], slots))
        self.slots = slots

    def join(self, member: Member, segment: Segment) -> None:
        """Move the tokens of a segment into the next slot, which was promised."""
        slot = len(self.members)
        for layer, pair in segment.layers.items():
            if layer not in self._layers:
                # Zeros, because what is masked is still multiplied by 0.
                self._layers[layer] = tuple(  # type: ignore[assignment]
                    x.new_zeros(self.slots, x.shape[0], self.capacity, x.shape[2]) for x in pair
                )
            for slots_SGCD, x_GPD in zip(self._layers[layer], pair, strict=True):
                slots_SGCD[slot, :, : segment.tokens] = x_GPD
        self.members.append(member)
        self.lengths.append(segment.tokens)
        self.promised -= 1

    def leave(self, member: Member) -> None:
        """Free a slot: the last member takes its place. Its values go: what is not a number would spread."""
        slot, last = self.members.index(member), len(self.members) - 1
        for key_SGCD, value_SGCD in self._layers.values():
            value_SGCD[slot, :, : self.lengths[slot]] = 0
            if slot != last:
                used = self.lengths[last]
                key_SGCD[slot, :, :used] = key_SGCD[last, :, :used]
                value_SGCD[slot, :, :used] = value_SGCD[last, :, :used]
                value_SGCD[last, :, :used] = 0
        self.members[slot], self.lengths[slot] = self.members[last], self.lengths[last]
        self.members.pop()
        self.lengths.pop()

    def layer(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values [S, G, C, D] of all slots."""
        return self._layers[layer]


def _resized(x_SGCD: Tensor, slots: int) -> Tensor:
    made = x_SGCD.new_zeros(slots, *x_SGCD.shape[1:])
    both = min(slots, len(x_SGCD))
    made[:both] = x_SGCD[:both]
    return made


def slot_size(tokens: int) -> int:
    """The capacity of a slot for so many tokens: a power of two or three quarters of one, so that slabs are few."""
    power = max(SMALLEST_SLOT, 1 << (tokens - 1).bit_length())
    return power * 3 // 4 if SMALLEST_SLOT < tokens <= power * 3 // 4 else power
