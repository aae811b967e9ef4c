"""Which of llama.cpp's pre-tokenizers cuts text as a byte-level BPE tokenizer does.

A GGUF file only names its pre-tokenizer; the expressions are in llama.cpp (src/llama-vocab.cpp, from which those below
are read). So the tokenizer's own definition is looked up here. One that llama.cpp does not have may still give the same
tokens as one that it has, because what they cut otherwise was never merged; that is tried out on texts of many kinds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lorafit.errors import ExportError

CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
WORDS = r"|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+%s|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*%s|"
MARKS = "llama.cpp cuts combining marks (accents apart from their letters, Hindi's vowels) from their words here"
CASED_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """name: llama.cpp's; expressions: applied one after another to what the one before left over; whole_words: a word
    that is in the vocabulary is one token, whatever its merges; limit: where llama.cpp departs from them."""

    name: str
    expressions: tuple[str, ...]
    whole_words: bool = False
    limit: str | None = None


KNOWN = (
    PreTokenizer("gpt-2", (GPT2,)),
    PreTokenizer("smollm", (r"\p{N}", GPT2)),
    PreTokenizer("llama-bpe", (CONTRACTIONS + WORDS + r"\p{N}{1,3}" + REST,), whole_words=True),
    PreTokenizer("dbrx", (CONTRACTIONS + WORDS + r"\p{N}{1,3}" + REST,)),
    PreTokenizer("qwen2", (CONTRACTIONS + WORDS + r"\p{N}" + REST,)),
    PreTokenizer("tekken", (CASED % ("", "") + r"\p{N}" + CASED_REST,), True, MARKS),
    PreTokenizer("gpt-4o", (CASED % ((CONTRACTIONS + "?",) * 2) + r"\p{N}{1,3}" + CASED_REST,), False, MARKS),
)

# Texts in which pre-tokenizers differ: contractions, digits, runs of spaces and lines, scripts, marks, code.
PROBES = (
    "I'm sure they'll say it's fine, and we've SAID SO: WE'LL SEE, DON'T they'Re",
    "1 22 333 4444 55555 1234567890 3.14159 1,000,000 ½ ² ٣٤ ४५ 第12章 v2.0-rc1 0x1F",
    "  two   three    four\ttab\t\ttabs \n line\n\n lines\r\n\r\nend \n\n\n   indented\n    more   ",
    "小镇的早晨很安静，渔船一艘接一艘地出海。“米拉”住在柳树街！ 中文 and English 混排，2024年5月。",
    "こんにちは、世界。カタカナとひらがな。 안녕하세요 세계, 한국어 문장입니다.",
    "Привет, мир! Ελληνικά κείμενα. שלום עולם. مرحبا بالعالم، كيف الحال؟ नमस्ते दुनिया कैसे हैं",
    "naïve café Ünïcödé e\u0301 n\u0303 a\u0308o ﬁn ß ǅ \u00a0\u2003 space\u200bzero",
    "😀😃 👩‍👩‍👧 🇫🇷 ❤️ → ≤ ∑ € £ ¥ © ™ … — – ‘single’ “double”",
    "def f(x_1, **kw):\n    return {'a': [x_1**2 for _ in range(10)], \"b\": x!=3}  # why?\n\nif __name__ == '__m__':",
    "https://example.org/a?c=d&e=f#g user@example.org C:\\dir\\file.txt <tag a='1'>&amp;</tag> camelCaseWord ALLCAPS",
)


@dataclass(frozen=True, slots=True)
class Choice:
    """remark: how it was found, where it is not simply the tokenizer's own definition, or where it departs from it."""

    name: str
    remark: str | None = None


def choose_pretokenizer(core: Any, texts: Sequence[str] = ()) -> Choice:
    """llama.cpp's pre-tokenizer for `core`, a tokenizers.Tokenizer of byte-level BPE. `texts` are tried besides PROBES.

    Raises ExportError, with the first text that none of them cuts alike.
    """
    content = json.loads(core.to_str())
    own = _expressions(content.get("pre_tokenizer"))
    whole_words = bool(content["model"].get("ignore_merges"))
    if not content.get("normalizer") or content["normalizer"]["type"] == "NFC":
        for known in KNOWN:
            if own == known.expressions and whole_words == known.whole_words:
                return Choice(known.name, known.limit)
    tried = [*PROBES, *texts]
    wanted = [core.encode(text, add_special_tokens=False).ids for text in tried]
    furthest = ""
    for known in KNOWN:
        found = [one.ids for one in _cutting_as(core, known).encode_batch(tried, add_special_tokens=False)]
        differing = next((text for text, *ids in zip(tried, wanted, found, strict=True) if ids[0] != ids[1]), None)
        if differing is None:
            return Choice(
                known.name,
                f"llama.cpp has no pre-tokenizer like this tokenizer's; its {known.name} gave the same tokens on "
                f"{len(tried)} texts of many kinds",
            )
        furthest = furthest or differing
    raise ExportError(
        f"None of llama.cpp's pre-tokenizers ({', '.join(known.name for known in KNOWN)}) gives the tokens of this "
        f"tokenizer, first on {furthest[:60]!r}. A GGUF file would answer otherwise than the model; "
        "use `--to merged` with transformers or vLLM instead."
    )


def _cutting_as(core: Any, known: PreTokenizer) -> Any:
    """A copy of a tokenizer that cuts text as llama.cpp does under a name."""
    from tokenizers import Regex, Tokenizer, pre_tokenizers

    content = json.loads(core.to_str())
    content["normalizer"] = None
    content["model"]["ignore_merges"] = known.whole_words
    copy = Tokenizer.from_str(json.dumps(content))
    copy.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(one), "isolated") for one in known.expressions),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return copy


def _expressions(definition: dict[str, Any] | None) -> tuple[str, ...] | None:
    """The expressions of a tokenizer.json's pre-tokenizer, in one spelling; None when it does other things too."""
    if definition is None:
        return None
    parts = definition["pretokenizers"] if definition["type"] == "Sequence" else [definition]
    found: list[str] = []
    for part in parts:
        kind = part["type"]
        if kind == "ByteLevel" and not part["add_prefix_space"]:
            found += [GPT2] if part["use_regex"] else []
        elif kind == "Digits" and part["individual_digits"]:
            found.append(r"\p{N}")
        elif kind == "Split" and "Regex" in part["pattern"] and part["behavior"] in ("Isolated", "Removed"):
            # "Removed" and inverted keeps what matches, and these expressions match everything.
            if (part["behavior"] == "Removed") != part["invert"]:
                return None
            found.append(part["pattern"]["Regex"].replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)", CONTRACTIONS))
        else:
            return None
    return tuple(found)
