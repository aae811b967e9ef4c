"""One row through the model to its summed loss: packed where the model keeps documents apart, else plainly."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lorafit.data.pack import make_row
from lorafit.ops.attention import PACKED, attention_of
from lorafit.ops.loss import summed_cross_entropy
from lorafit.records import Row, Sample, Source

PROBE_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


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

    Old architectures, convolutions and state-space layers let neighbours leak into one another; the probe sees it:
    the loss of two documents in one row must be the sum of their losses alone.
    """
    vocabulary = _plain_model(model).get_input_embeddings().weight.shape[0]
    draw = torch.Generator().manual_seed(0)
    documents = []
    for number, length in enumerate((5, 7)):
        tokens = torch.randint(0, vocabulary, (length,), generator=draw).numpy()
        trained = torch.arange(length).numpy() > 0
        documents.append(Sample(tokens, trained, number, Source("probe", number)))
    packed, alone = Forward(model, packed=True), Forward(model, packed=False)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            separate = sum(alone(make_row([d])).item() for d in documents)
            with packed.running():
                together = packed(make_row(documents)).item()
    except (RuntimeError, TypeError, KeyError, ValueError) as error:
        return alone, f"{type(_plain_model(model)).__name__} cannot pack rows ({' '.join(str(error).split())[:200]})"
    finally:
        model.train(training)
    tolerance = PROBE_TOLERANCE[_compute_dtype(model)]
    if abs(together - separate) > tolerance * abs(separate):
        return alone, (
            f"{type(_plain_model(model)).__name__} lets packed documents see one another "
            f"(probe loss {together:.6g} instead of {separate:.6g})"
        )
    return packed, None


def _plain_model(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _compute_dtype(model: Any) -> torch.dtype:
    dtype: torch.dtype = _plain_model(model).get_input_embeddings().weight.dtype
    return dtype
