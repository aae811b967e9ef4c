"""Tokens that a base never saw in pre-training: no adapter can make one likely, as its output embedding is frozen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cosine_similarity

# Embeddings of tokens that were never a target are all pushed the same way by the softmax (arXiv 2405.05417 finds such
# tokens by that); so many others that point where this one does, so nearly, are no accident.
ALIKE, LEAST_ALIKE = 0.995, 8


@torch.no_grad()
def never_seen(model: Any, token_ids: Sequence[int]) -> list[int]:
    """Those of the tokens whose output embedding looks like that of a token which was never a target."""
    head = model.get_output_embeddings()
    weight_VD = getattr(head, "weight", None)
    if weight_VD is None or not weight_VD.is_floating_point():
        return []
    found = []
    for token in token_ids:
        alike = cosine_similarity(weight_VD.float(), weight_VD[token].float(), dim=-1) > ALIKE
        if int(alike.sum()) > LEAST_ALIKE:
            found.append(token)
    return found
