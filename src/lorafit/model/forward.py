"""One row through the model to its summed loss: packed where the model keeps documents apart, else plainly."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lorafit.data.pack import make_row
from lorafit.ops.attention import PACKED, attention_of
from lorafit.ops.loss import summed_cross_entropy
from lorafit.records import Row, Sample, Source

NEIGHBOUR_TOLERANCE = 1e-6
SUM_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


class Forward:
    """Calls the model on rows. The vocabulary projection runs on the supervised places alone."""

    def __init__(self, model: Any, packed: bool) -> None:
        self.model = model
        self.packed = packed
        self.device = next(model.parameters()).device
        # Models with code of their own may know neither; their logits are then selected afterwards.
        known = inspect.signature(_plain_model(model).forward).parameters
        self._selects = "logits_to_keep" in known
        self._positions = "position_ids" in known

    def __call__(self, row: Row) -> Tensor:
        """The sum over the row's supervised tokens of -log p(token), in nats; a scalar with a gradient."""
        row = row.to(self.device)
        extra: dict[str, Any] = {"document_lengths": row.lengths} if self.packed else {}
        if self._positions:
            extra["position_ids"] = row.position_ids[None]
        if self._selects:
            extra["logits_to_keep"] = row.predict
        logits = self.model(input_ids=row.token_ids[None], use_cache=False, **extra).logits[0]
        return summed_cross_entropy(logits if self._selects else logits[row.predict], row.targets)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Within this block the model attends as packed rows need; outside it is the plain model again."""
        if not self.packed:
            yield
            return
        with attention_of(_plain_model(self.model), PACKED):
            yield


def choose_forward(model: Any) -> tuple[Forward, str | None]:
    """A packed Forward when the model passes the two-document probe, else one example a row, with the reason why.

    Old architectures, convolutions and state-space layers let neighbours leak into one another. The probe sees it: a
    document's loss must not change with its neighbour (to the last digits, in any dtype), and the loss of two
    documents in one row must be the sum of their losses alone (which also sees wrong positions).
    """
    vocabulary = _plain_model(model).get_input_embeddings().weight.shape[0]
    draw = torch.Generator().manual_seed(0)

    def document(length: int, trained: slice) -> Sample:
        tokens, mask = torch.randint(0, vocabulary, (length,), generator=draw).numpy(), np.zeros(length, dtype=bool)
        mask[trained] = True
        return Sample(tokens, mask, 0, Source("probe", 1))

    one, other = document(5, slice(1, None)), document(7, slice(1, None))
    # A neighbour is seen best from the first tokens beside it.
    neighbour, stranger, looked_at = document(5, slice(0)), document(5, slice(0)), document(7, slice(1, 3))
    packed, alone = Forward(model, packed=True), Forward(model, packed=False)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            separate = sum(alone(make_row([d])).item() for d in (one, other))
            with packed.running():
                together = packed(make_row([one, other])).item()
                beside = [packed(make_row([first, looked_at])).item() for first in (neighbour, stranger)]
    except (RuntimeError, TypeError, KeyError, ValueError) as error:
        return alone, f"{type(_plain_model(model)).__name__} cannot pack rows ({' '.join(str(error).split())[:200]})"
    finally:
        model.train(training)
    leaks = abs(beside[0] - beside[1]) > NEIGHBOUR_TOLERANCE * abs(beside[0])
    if leaks or abs(together - separate) > SUM_TOLERANCE[_compute_dtype(model)] * abs(separate):
        return alone, f"{type(_plain_model(model)).__name__} lets packed documents see one another"
    return packed, None


def _plain_model(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _compute_dtype(model: Any) -> torch.dtype:
    dtype: torch.dtype = _plain_model(model).get_input_embeddings().weight.dtype
    return dtype
