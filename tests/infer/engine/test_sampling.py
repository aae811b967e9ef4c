from __future__ import annotations

import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor, TopKLogitsWarper, TopPLogitsWarper

from lorafit.infer.engine.request import Sampling
from lorafit.infer.engine.sampling import Sampler, kept, logprobs

LOGITS = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize(
    ("top_k", "top_p"), [(0, 1.0), (5, 1.0), (0, 0.3), (0, 0.9999), (40, 0.8), (2000, 1.0), (1, 0.1)]
)
def test_what_may_be_drawn_is_what_transformers_leaves_in(top_k: int, top_p: float) -> None:
    scores = LOGITS[None].double()
    if top_k:
        scores = TopKLogitsWarper(top_k)(None, scores)
    if top_p < 1:
        scores = TopPLogitsWarper(top_p)(None, scores)
    expected = scores[0].softmax(0)
    ids, weights = kept(LOGITS.double(), top_k, top_p)
    ids = torch.arange(1000) if ids is None else ids
    assert set(ids.tolist()) == set(expected.nonzero()[:, 0].tolist())
    torch.testing.assert_close(weights / weights.sum(), expected[ids])


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([1.0, 3.0, 2.0, -2.0])
    sampler = Sampler(Sampling(temperature=2.0, seed=1), ())
    counts = torch.bincount(torch.tensor([sampler.choose(logits) for _ in range(4000)]), minlength=4)
    torch.testing.assert_close(counts / 4000, (logits / 2).softmax(0), atol=0.02, rtol=0)


def test_the_penalty_is_that_of_transformers_and_counts_the_prompt_and_the_answer() -> None:
    sampler = Sampler(Sampling(repetition_penalty=1.7), (3, 8))
    seen = [3, 8]
    for _ in range(5):
        expected = int(RepetitionPenaltyLogitsProcessor(1.7)(torch.tensor([seen]), LOGITS[None]).argmax())
        assert sampler.choose(LOGITS) == expected
        seen.append(expected)
    assert len(set(seen)) > 3


def test_temperature_zero_takes_the_likeliest_and_logprobs_are_the_models() -> None:
    sampler = Sampler(Sampling(), ())
    assert sampler.is_plain
    assert sampler.choose(LOGITS) == int(LOGITS.argmax())
    (one,) = logprobs(LOGITS[None], [17], top=3)
    expected = LOGITS.log_softmax(0)
    assert one.logprob == pytest.approx(float(expected[17]), abs=1e-5)
    assert [token for token, _ in one.top] == LOGITS.topk(3).indices.tolist()
    assert one.top[0][1] == pytest.approx(float(expected.max()), abs=1e-5)
