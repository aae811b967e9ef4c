import ast
import random
import re
import string
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import lorafit
from lorafit.observe.rules.before import alpha_far_off, too_few_updates
from lorafit.observe.rules.facts import Facts
from lorafit.observe.rules.finding import Case
from lorafit.observe.rules.table import RULES
from lorafit.studio.words import core_in
from lorafit.studio.words.core import PARTS, SENTENCES
from lorafit.studio.words.sentences import LONGEST_LINE, MOST_LINES, is_figure

SOURCE = Path(lorafit.__file__).parent
PLACE = re.compile(r"\{(\w+)\}")
HAN = re.compile(r"[一-鿿]")
# Four words of English in a row.
ENGLISH = re.compile(r"(?:\b[a-z]+\b[ ,]+){4}")
# Texts whose rest is put in by what uses them, and what is no sentence.
FRAGMENTS = {
    "The model learns 7 by heart instead of what they have in common.",
    "The base: 7 parameters7.",
    "None: 7 rows, each seen 7 7, are not soon learnt by heart.",
    "7 of 7 rows 77.",
    "For 7: 7. 7.",
    "7 7; 7 tokens, 7 of them trained on.",
    "7: of the adapters that fit the fastest; within 12 % the one that changes the base least.",
    "7: of these bases no other fits.",
    "7: no larger base fits.",
    "7: the largest of these bases that fits. Beside 7 with 7 an update takes 7, and 7 instead of 7. In the QLoRA "
    "paper larger bases in 4 bits answered better than smaller ones in 16; on your data only a comparison tells.",
}


def example(sentence: str) -> str:
    """The sentence with a figure or a text in each place, all different."""
    numbers = iter(range(11, 99))
    return PLACE.sub(lambda place: f"{next(numbers)}" if is_figure(place[1]) else f"x{next(numbers)}", sentence)


def filled(english: str) -> str:
    """What the example has to become, but for the places that are put into Chinese in their turn."""
    numbers = iter(range(11, 99))
    values = {name: f"{next(numbers)}" if is_figure(name) else f"x{next(numbers)}" for name in PLACE.findall(english)}
    return PLACE.sub(lambda place: values[place[1]], SENTENCES[english])


def sentences_of(file: str) -> Iterator[str]:
    """The whole sentences of a module as a run may show them, with 7 for what is filled in."""
    tree = ast.parse((SOURCE / file).read_text(encoding="utf-8"))
    left_out = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    left_out |= {part for text in ast.walk(tree) if isinstance(text, ast.JoinedStr) for part in text.values}
    for node in ast.walk(tree):
        text = ""
        if node in left_out:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        text = re.sub(r"^7 (?=[A-Z])", "", text)  # one that follows another
        if re.match(r"[A-Z7]", text) and text.endswith(".") and len(text.split()) > 2 and text not in FRAGMENTS:
            yield text


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.symptom)
def test_titles_of_the_doctor(rule) -> None:
    assert HAN.search(core_in("zh", rule.title)), rule.title


@pytest.mark.parametrize(
    "file",
    [
        *(f"observe/rules/{name}.py" for name in ("answers", "before", "curves", "ending", "fitting", "machine")),
        "data/problems.py",
        "data/length.py",
        "data/build.py",
        "advise/values.py",
        "advise/advice.py",
        "studio/workspace.py",
        "studio/queue.py",
        "studio/drafts.py",
        "studio/desk.py",
        "studio/jobs.py",
        "run.py",
        "recipe.py",
    ],
)
def test_sentences_of_other_rooms(file: str) -> None:
    """A sentence that is changed there is missed here."""
    found = list(sentences_of(file))
    chinese = {text: core_in("zh", text) for text in found}
    assert found
    assert [text for text in found if not HAN.search(chinese[text]) or ENGLISH.search(chinese[text])] == []


def test_what_differs_is_in_both() -> None:
    for english, chinese in SENTENCES.items():
        places = PLACE.findall(english)
        assert len(set(places)) == len(places), english
        assert set(places) == set(PLACE.findall(chinese)), english


def test_each_sentence_is_put_by_its_own_pattern() -> None:
    """No other pattern takes its example. Gaps between scripts aside, which are put in."""
    own = [english for english in SENTENCES if PLACE.search(english) and "{known" not in english]
    said = {english: core_in("zh", example(english)) for english in own}
    assert {one: said[one] for one in own if said[one].replace(" ", "") != filled(one).replace(" ", "")} == {}


def test_no_sentence_is_there_twice() -> None:
    assert sum(len(part.SENTENCES) for part in PARTS) == len(SENTENCES)


def test_findings_with_their_figures() -> None:
    recipe = {"train": {"batch_size": 16, "epochs": 1.0}, "adapter": {"method": "lora", "rank": 16, "alpha": 1000.0}}
    facts = Facts(recipe=recipe, data={"training": {"samples": 100}}, planned=6)
    for found in (too_few_updates(facts), alpha_far_off(facts)):
        assert isinstance(found, Case)
        for text in (found.evidence, found.cause, found.remedy):
            chinese = core_in("zh", text)
            assert HAN.search(chinese) and not ENGLISH.search(chinese)
            assert sorted(re.findall(r"\d+", chinese)) == sorted(re.findall(r"\d+", text))


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        (
            "1,202 of 42,061 rows equal an earlier row in every turn; the first: /data/train.csv, row 2001.",
            "42,061 条数据中有 1,202 条每一轮都与前面某条完全相同；第一条：/data/train.csv 第 2001 条。",
        ),
        (
            "train.learning_rate is 5e-2; usual for LoRA on a base of 3.28M parameters is 1e-4 to 3e-2. The loss went "
            "from 2.1 to 2.0 in 40 updates.",
            "train.learning_rate 是 5e-2；3.28M 参数基座上的 LoRA 通常用 1e-4 至 3e-2。"
            "40 次更新中，损失从 2.1 变为 2.0。",
        ),
        (
            "LoRA on 16 bits needs 3.42 GB of 23.5 GB and fits. 8 bits would need 1.2 GB less and take as long; 4 bits "
            "would not fit (9.1 GB).",
            "LoRA（16 位）共 23.5 GB，需要 3.42 GB，放得下。8 位可少用 1.2 GB，耗时相同；4 位放不下（9.1 GB）。",
        ),
        (
            "SmolLM2-135M with QLoRA (4 bits): the largest of these bases that fits. Beside builtin with LoRA on 16 "
            "bits an update takes 3.1 times the time, and 2.1 GB instead of 652 MB. In the QLoRA paper larger bases in "
            "4 bits answered better than smaller ones in 16; on your data only a comparison tells.",
            "SmolLM2-135M，用 QLoRA（4 位）：这些基座中放得下的最大的一个。与 builtin 用 LoRA（16 位）相比，一次更新要"
            " 3.1 倍的时间，需要 2.1 GB 而不是 652 MB。QLoRA 论文中，4 位的大基座比 16 位的小基座回答得更好；"
            "在你的数据上如何，要比较才知道。",
        ),
        (
            "2 faults in the recipe:\n  train.batch_size: found 0; input should be greater than or equal to 1\n"
            "  train.foo: unknown key (value 1). Did you mean train.epochs?",
            "配方有 2 处错误：\n  train.batch_size：现在是 0；应当大于或等于 1\n"
            "  train.foo：没有这个设置（值为 1）。你是指 train.epochs 吗？",
        ),
        (
            "use a model folder on this disk, or correct HF_ENDPOINT, or set HF_ENDPOINT to a mirror",
            "使用磁盘上的模型文件夹，或改正 HF_ENDPOINT，或把 HF_ENDPOINT 设为镜像站",
        ),
    ],
)
def test_composed_texts(english: str, chinese: str) -> None:
    assert core_in("zh", english) == chinese
    assert core_in("en", english) == english


def test_what_is_not_known_stays_as_it_is() -> None:
    text = "  Something quite new happened:  to a file; it is a.b, c: d. \n\n\tTwice.\n"
    assert core_in("zh", text) == text
    assert core_in("zh", "Clip the gradient. Then dance, or sing.") == "裁剪梯度。Then dance, or sing."
    assert core_in("zh", "The answer is a, or b") == "The answer is a, or b"
    assert core_in("zh", "") == ""


def test_names_stay_as_they_are() -> None:
    """Those of a file that looks like a pattern, or like words of the table."""
    assert core_in("zh", "The data file {n}.json holds no rows.") == "数据文件 {n}.json 里没有数据。"
    assert core_in("zh", "The data file code holds no rows.") == "数据文件 code 里没有数据。"
    assert core_in("zh", "The data file \\1.json holds no rows.") == "数据文件 \\1.json 里没有数据。"


def test_a_long_text_does_not_keep_a_page_waiting_for_ever() -> None:
    """A search that tries every way through a text would take years; no figure of speed is meant."""
    chosen = random.Random(0)
    words = [
        *string.ascii_lowercase,
        "rows",
        "of 12",
        "of 12 rows",
        "needs",
        "is",
        "needs 3 of",
        ":",
        ";",
        ", or",
        "x.",
    ]
    lines = [" ".join(chosen.choices(words, k=300)) for _ in range(MOST_LINES + 5)]
    lines += ["a: " * LONGEST_LINE]
    start = time.process_time()
    said = core_in("zh", "\n".join(lines))
    assert time.process_time() - start < 60
    assert said.split("\n")[MOST_LINES:] == lines[MOST_LINES:]
