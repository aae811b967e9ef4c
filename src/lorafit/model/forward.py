"""One row through the model to its summed loss: packed where the model keeps documents apart, else plainly; the head
and the cross-entropy in chunks where the logits are just the head's output, else through the model's own logits."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lorafit.data.pack import make_row
from lorafit.ops.attention import PACKED, attention_of
from lorafit.ops.loss import head_cross_entropy, summed_cross_entropy, token_losses
from lorafit.records import Row, Sample, Source

NEIGHBOUR_TOLERANCE = 1e-6
SUM_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


class Forward:
    """Calls the model on rows. The vocabulary projection runs on the supervised places alone.

    head: the frozen output head when the model's logits are its output and nothing else (`plain_head`), else None.
    """

    def __init__(self, model: Any, packed: bool, head: nn.Linear | None = None) -> None:
        self.model = model
        self.packed = packed
        self.device = next(model.parameters()).device
        # Models with code of their own may know neither; their logits are then selected afterwards.
        known = inspect.signature(_plain_model(model).forward).parameters
        self._selects = "logits_to_keep" in known
        self._positions = "position_ids" in known
        self._head = head
        self._attention = getattr(_plain_model(model).config, "_attn_implementation", None)

    def __call__(self, row: Row) -> Tensor:
        """The sum over the row's supervised tokens of -log p(token), in nats; a scalar with a gradient."""
        row = row.to(self.device)
        found = self._at_supervised(row)
        if self._head is not None:
            return head_cross_entropy(found, self._head.weight, self._head.bias, row.targets, row.weights)
        return summed_cross_entropy(found, row.targets, row.weights)

    @torch.no_grad()
    def token_losses(self, row: Row) -> tuple[Tensor, Tensor]:
        """Of every supervised token of the row -log p in nats, float32 [S], and whether it is the likeliest one,
        bool [S]; the weights are left out."""
        row = row.to(self.device)
        found = self._at_supervised(row)
        return token_losses(found, row.targets, self._head)

    def _at_supervised(self, row: Row) -> Tensor:
        """At the supervised places what the head is given, [S, D]; its logits [S, V] where there is no plain head."""
        extra: dict[str, Any] = {"row_layout": row.layout} if self.packed else {}
        if self._positions:
            extra["position_ids"] = row.position_ids[None]
        if self._head is not None:
            plain = _plain_model(self.model)
            hidden_TD: Tensor = plain.get_decoder()(input_ids=row.token_ids[None], use_cache=False, **extra)[0][0]
            return hidden_TD[row.predict]
        if self._selects:
            extra["logits_to_keep"] = row.predict
        logits: Tensor = self.model(input_ids=row.token_ids[None], use_cache=False, **extra).logits[0]
        return logits if self._selects else logits[row.predict]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Within this block the model attends as packed rows need; outside it is the plain model again."""
        if not self.packed:
            yield
            return
        with attention_of(_plain_model(self.model), PACKED):
            yield

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Within a block of `running`: the plain model, to be asked something."""
        if not self.packed or self._attention is None:
            yield
            return
        with attention_of(_plain_model(self.model), self._attention):
            yield


def choose_forward(model: Any) -> tuple[Forward, str | None]:
    """A packed Forward when the model passes the two-document probe, else one example a row, with the reason why.

    Old architectures, convolutions and state-space layers let neighbours leak into one another. The probe sees it: a
    document's loss must not change with its neighbour (to the last digits, in any dtype), and the loss of three
    documents in one row, two of them with the same beginning, must be the sum of their losses alone (which also sees
    wrong positions).
    """
    vocabulary = _plain_model(model).get_input_embeddings().weight.shape[0]
    draw = torch.Generator().manual_seed(0)

    def tokens(length: int) -> np.ndarray:
        return torch.randint(0, vocabulary, (length,), generator=draw).numpy()

    def document(token_ids: np.ndarray, trained: slice) -> Sample:
        mask = np.zeros(len(token_ids), dtype=bool)
        mask[trained] = True
        return Sample(token_ids, mask, Source("probe", 1))

    beginning = tokens(4)
    alike = [document(np.concatenate([beginning, tokens(length)]), slice(1, None)) for length in (1, 3)]
    # A neighbour is seen best from the first tokens beside it.
    neighbour, stranger = (document(tokens(5), slice(0)) for _ in range(2))
    looked_at = document(tokens(7), slice(1, 3))
    head = plain_head(_plain_model(model))
    packed, alone = Forward(model, packed=True, head=head), Forward(model, packed=False, head=head)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            separate = sum(alone(make_row([d])).item() for d in (looked_at, *alike))
            with packed.running():
                together = packed(make_row([looked_at, *alike], least_shared=1)).item()
                beside = [packed(make_row([first, looked_at], None)).item() for first in (neighbour, stranger)]
    except (RuntimeError, TypeError, KeyError, ValueError) as error:
        return alone, f"{type(_plain_model(model)).__name__} cannot pack rows ({' '.join(str(error).split())[:200]})"
    finally:
        model.train(training)
    leaks = abs(beside[0] - beside[1]) > NEIGHBOUR_TOLERANCE * abs(beside[0])
    if leaks or abs(together - separate) > SUM_TOLERANCE[_compute_dtype(model)] * abs(separate):
        return alone, f"{type(_plain_model(model)).__name__} lets packed documents see one another"
    return packed, None


@torch.no_grad()
def plain_head(model: Any) -> nn.Linear | None:
    """The output head, when it is frozen and the logits are its very output on the decoder's last hidden states.

    A model that scales or caps its logits (Gemma, Granite, Cohere) is found out by making the head's output large for
    one call: whatever is done to it afterwards then shows.
    """
    head = model.get_output_embeddings() if hasattr(model, "get_decoder") else None
    if type(head) is not nn.Linear or any(p.requires_grad for p in head.parameters()):
        return None
    seen: list[Tensor] = []

    def enlarge(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        seen.extend((inputs[0], output * 1000))
        return seen[-1]

    training = model.training
    model.eval()
    hook = head.register_forward_hook(enlarge)
    try:
        # Not 0: where it is the padding token its embedding, and with it every logit, may be zero.
        ids = torch.arange(1, 4, device=head.weight.device)[None]
        logits = model(input_ids=ids, use_cache=False).logits
        hidden = model.get_decoder()(input_ids=ids, use_cache=False)[0]
    except (RuntimeError, TypeError, KeyError, ValueError, IndexError):
        return None
    finally:
        hook.remove()
        model.train(training)
    plain = len(seen) == 2 and torch.equal(seen[0], hidden) and torch.equal(seen[1].float(), logits.float())
    return head if plain else None


def _plain_model(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _compute_dtype(model: Any) -> torch.dtype:
    dtype: torch.dtype = _plain_model(model).get_input_embeddings().weight.dtype
    return dtype
