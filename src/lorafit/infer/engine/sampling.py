"""Logits to tokens, a request at a time: what is drawn depends on the request's seed and logits, on no neighbour."""

from __future__ import annotations

import torch
from torch import Tensor

from lorafit.infer.engine.request import Sampling, TokenLogprob

# The kept part of a distribution is nearly always among this many tokens; a whole vocabulary is sorted only otherwise.
LIKELY = 256


class Sampler:
    """Chooses the tokens of one request. token_ids: its prompt, for the repetition penalty."""

    def __init__(self, sampling: Sampling, token_ids: tuple[int, ...]) -> None:
        self.sampling = sampling
        self._seen = set(token_ids) if sampling.repetition_penalty != 1 else None
        self._draws = torch.Generator()
        if sampling.seed is None:
            self._draws.seed()
        else:
            self._draws.manual_seed(sampling.seed)

    @property
    def is_plain(self) -> bool:
        """Whether the token is the likeliest one as it stands."""
        return self.sampling.temperature == 0 and self._seen is None

    def choose(self, logits_V: Tensor) -> int:
        """The next token."""
        if self._seen is not None:
            logits_V = _penalised(logits_V, self._seen, self.sampling.repetition_penalty)
        token = int(logits_V.argmax()) if self.sampling.temperature == 0 else self._drawn(logits_V)
        if self._seen is not None:
            self._seen.add(token)
        return token

    def _drawn(self, logits_V: Tensor) -> int:
        ids_K, weights_K = kept(logits_V.double() / self.sampling.temperature, self.sampling.top_k, self.sampling.top_p)
        point = torch.rand((), generator=self._draws, dtype=torch.float64).to(weights_K.device)
        sums_K = weights_K.cumsum(0)
        place = torch.searchsorted(sums_K, point * sums_K[-1], right=True).clamp(max=len(sums_K) - 1)
        return int(place if ids_K is None else ids_K[place])


def kept(logits_V: Tensor, top_k: int, top_p: float) -> tuple[Tensor | None, Tensor]:
    """(ids, probabilities) of what may be drawn, the likeliest first; ids None for the whole vocabulary in its order.

    top_k tokens, and of these the fewest that have top_p of their probability together (arXiv 1904.09751).
    """
    if top_p == 1 and not 0 < top_k < len(logits_V):
        return None, logits_V.softmax(0)
    width = min(top_k or LIKELY, len(logits_V))
    values_K, ids_K = logits_V.topk(width)
    if top_k:
        weights_K = values_K.softmax(0)
    else:
        weights_K = (values_K - logits_V.logsumexp(0)).exp()
        if weights_K.sum() < top_p and width < len(logits_V):
            weights_K, ids_K = logits_V.softmax(0).sort(descending=True)
    if top_p < 1:
        before_K = weights_K.cumsum(0) - weights_K
        count = max(1, int((before_K < top_p).sum()))
        weights_K, ids_K = weights_K[:count], ids_K[:count]
    return ids_K, weights_K


def _penalised(logits_V: Tensor, seen: set[int], penalty: float) -> Tensor:
    """Tokens seen before are made less likely: divided where positive, multiplied where negative (1909.05858)."""
    ids = torch.tensor(sorted(seen), device=logits_V.device)
    scores = logits_V[ids]
    return logits_V.index_copy(0, ids, torch.where(scores > 0, scores / penalty, scores * penalty))


def logprobs(logits_NV: Tensor, ids: list[int], top: int) -> list[TokenLogprob]:
    """Log-probabilities of the tokens `ids` at N places, with the `top` likeliest at each."""
    logits_NV = logits_NV.float()
    sums_N1 = logits_NV.logsumexp(-1, keepdim=True)
    chosen = (logits_NV.gather(1, torch.tensor(ids, device=logits_NV.device)[:, None]) - sums_N1)[:, 0].tolist()
    if not top:
        return [TokenLogprob(i, value) for i, value in zip(ids, chosen, strict=True)]
    values, places = logits_NV.topk(min(top, logits_NV.shape[1]))
    likely = zip((values - sums_N1).tolist(), places.tolist(), strict=True)
    return [
        TokenLogprob(i, value, tuple(zip(names, numbers, strict=True)))
        for i, value, (numbers, names) in zip(ids, chosen, likely, strict=True)
    ]
