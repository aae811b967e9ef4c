"""Contexts and continuations to tokens. The table was made with TemplateLM of lm_eval 0.4.13 and this tokenizer."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from lorafit.errors import DataError
from lorafit.evaluate.pairs import encode_pair, fit

WORDS = ["<s>", "</s>", "▁", "▁A", "A", "▁the", "t", "h", "e", "▁answer", ":", "▁:", "▁AB", "B", "\n", "答"]


def tokenizer(bos: bool = True, eos: bool = True) -> Any:
    """Pieces with the space before them, merged where they meet; the beginning of a text is added by itself."""
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    for word in ["th", "the", "an", "ans", "answ", "answe", "answer", "a", "n", "s", "w", "r"]:
        vocabulary.setdefault(word, len(vocabulary))
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("a", "n"), ("an", "s"), ("ans", "w"), ("answ", "e")]
    merges += [("answe", "r"), ("▁", "answer"), ("▁", "A"), ("▁A", "B"), ("▁", ":")]
    made = Tokenizer(models.BPE(vocabulary, merges))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    made.decoder = decoders.Metaspace(prepend_scheme="never")
    if bos:
        made.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>" if bos else None, eos_token="</s>" if eos else None
    )


TABLE = [
    ("the answer:", " A", [0, 17, 9, 10], [3]),
    ("the answer: ", "A", [0, 17, 9, 10], [3]),
    ("the answer:  \n", "A", [0, 17, 9, 10], [2, 2, 14, 4]),
    ("the answer:", "A", [0, 17, 9, 10], [4]),
    ("the", " answer", [0, 17], [9]),
    ("", " A", [0], [3]),
    ("", "<s> A", [0], [3]),
    ("<s>the", " A", [0, 17], [3]),
    ("答", " AB", [0, 15], [12]),
    ("答:", "答", [0, 15, 10], [15]),
]


@pytest.mark.parametrize(("context", "continuation", "context_ids", "continuation_ids"), TABLE)
def test_pairs_are_those_of_the_harness(
    context: str, continuation: str, context_ids: list[int], continuation_ids: list[int]
) -> None:
    assert encode_pair(tokenizer(), context, continuation) == (context_ids, continuation_ids)


def test_without_a_first_token_a_text_begins_with_the_last_one() -> None:
    assert encode_pair(tokenizer(bos=False), "", "the") == ([1], [17])
    assert encode_pair(tokenizer(bos=False), "the", " A") == ([17], [3])
    with pytest.raises(DataError, match="no token that begins or ends a text"):
        encode_pair(tokenizer(bos=False, eos=False), "", "the")


def test_white_space_alone_is_an_empty_context() -> None:
    assert encode_pair(tokenizer(), " ", "A") == encode_pair(tokenizer(), "", " A") == ([0], [3])


def test_a_continuation_that_melts_into_the_context() -> None:
    with pytest.raises(DataError, match="'B' adds no token"):
        encode_pair(tokenizer(), "the A", "B")


@pytest.mark.parametrize("longest", range(2, 9))
def test_what_is_cut_is_the_beginning(longest: int) -> None:
    context, continuation = [1, 2, 3, 4, 5], [6, 7]
    kept, cut = fit(context, continuation, longest)
    # The harness gives the model the last `longest` tokens of all but the last one.
    assert kept + continuation == (context + continuation)[-(longest + 1) :]
    assert cut == (len(kept) < len(context))


def test_a_continuation_longer_than_the_model() -> None:
    with pytest.raises(DataError, match="3 tokens cannot be scored: the model takes 2"):
        fit([1], [2, 3, 4], 2)
