"""Out of memory is survived: what was being done is done again with half the tokens a pass, which gives the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from lorafit.errors import DoesNotFit
from lorafit.memory import give_back_all, is_out_of_memory, memory_in_use, one_line
from lorafit.records import Event, Sample, warning

Done = TypeVar("Done")


class Retreat:
    """How many tokens go through the model at once: halved whenever memory runs out, for the rest of the run.

    The loss is a mean over the supervised tokens of an update, however many passes they take, so that the result is
    the same (1e-5 in float32). `batch_size` never changes.
    """

    def __init__(self, tokens_per_pass: int, device: torch.device, observe: Callable[[Event], None]) -> None:
        self.tokens_per_pass = tokens_per_pass
        self._device, self._observe = device, observe

    def carry(
        self, work: Callable[[int], Done], samples: Sequence[Sample], what: str, forget: Callable[[], None]
    ) -> Done:
        """work(tokens_per_pass), repeated with less as long as memory runs out.

        samples: what it goes through; forget() drops what a failed try has left.

        Raises DoesNotFit when a single sample is too long for the memory.
        """
        before, fault = self.tokens_per_pass, ""
        while True:
            try:
                done = work(self.tokens_per_pass)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                failure = one_line(error)
            # Not within `except`: the error holds on to the tensors of the step.
            forget()
            give_back_all(self._device)
            fault = fault or f"{failure}; without this step {_in_use(self._device)}"
            self._halve(samples, fault)
        if fault:
            self._observe(
                warning(
                    f"{what}: memory ran out with {before:,} tokens a pass ({fault}). It was done again, and "
                    f"training goes on, with {self.tokens_per_pass:,}: slower, the same result."
                )
            )
        return done

    def _halve(self, samples: Sequence[Sample], fault: str) -> None:
        longest = max(samples, key=len)
        if self.tokens_per_pass <= len(longest):  # it has been alone in its pass
            raise DoesNotFit(
                f"{longest.source}: with {len(longest):,} tokens this single sample is too long for the memory "
                f"({fault}).\n"
                f"What would make it fit: train.recompute=layers if it is not, data.max_length={len(longest) // 2} "
                "or less, model.quantization=nf4; `lorafit plan` says what each gives."
            )
        everything = sum(len(sample) for sample in samples)
        self.tokens_per_pass = max(1, min(self.tokens_per_pass, everything) // 2)


def _in_use(device: torch.device) -> str:
    now, _ = memory_in_use(device)
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB are free"
    return f"{now / 2**30:.1f} GiB are in use"
