"""`lorafit evaluate` beside a plain transformers loop and lm-evaluation-harness: the same questions, taking turns.

    python benchmarks/evaluate.py [--cases e2e gsm8k mmlu ragged] [--prompts 64] [--rounds 1] [--threads 2]
                                  [--harness PYTHON] [--batches 8]

e2e: meaning representations, up to 64 new tokens. gsm8k: 4 shots before each question, up to 64 new tokens, a quarter
of the prompts. mmlu: 2 shots, four choices by log-likelihood, a quarter of the prompts, of as few subjects as hold
them. These have random weights of a shape (`--shape`) and the tokenizer of GPT-2: no answer ends early. ragged: a small
trained model goes on with stories, up to 256 tokens, and its answers end at different lengths. Without the shared
folder the texts are cut from the built-in ones, with drawn lengths, and the built-in model is the trained one.

lorafit: what the command does for one speaker, from the file of questions to the journal on the disk. loop: batches of
8, prompts sorted by length, padded on the left (choices: a row each, padded on the right); logits only of what is asked
where transformers offers it. harness: HFLM of an interpreter with lm_eval, its requests alone, without its reading of
tasks. None of the three counts loading or a first warm-up; each has float32 and as many threads.

Columns: samples a second (a sample of choices has all of them), tokens a second (of the answers; of choices, of each
prompt once), answers equal to the loop's, and those that are not where the two best were within 1e-4 of each other.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import work

CASES = ("e2e", "gsm8k", "mmlu", "ragged")
PARSER = work.parser(__doc__, rounds=1)
PARSER.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
PARSER.add_argument("--prompts", type=int, default=64)
PARSER.add_argument("--harness", metavar="PYTHON", help="an interpreter with lm_eval")
PARSER.add_argument("--batches", nargs="+", default=["8"], help="batch sizes of the harness; auto: its own choice")
ARGS = work.parse(PARSER)

import torch  # noqa: E402
import transformers  # noqa: E402

from lorafit import builtin  # noqa: E402
from lorafit.data.template import Renderer, choose_template  # noqa: E402
from lorafit.evaluate.answers import Way, answer, choose  # noqa: E402
from lorafit.evaluate.journal import Journal  # noqa: E402
from lorafit.evaluate.question import Question  # noqa: E402
from lorafit.evaluate.questions import read_questions, write_questions  # noqa: E402
from lorafit.evaluate.task import load_task  # noqa: E402
from lorafit.evaluate.task_rows import questions  # noqa: E402
from lorafit.hardware import Hardware, float32_through_onednn  # noqa: E402
from lorafit.infer.engine import Engine  # noqa: E402
from lorafit.records import Source  # noqa: E402

BATCH, MARGIN, NEW, RAGGED_NEW = 8, 1e-4, 64, 256
WORKER = Path(__file__).parent / "peer_workers/harness_worker.py"


@dataclass(frozen=True, slots=True)
class Case:
    """choices: whether they are scored, instead of an answer generated."""

    name: str
    questions: list[Question]
    new: int = NEW
    stop: tuple[str, ...] = ()

    @property
    def choices(self) -> bool:
        return bool(self.questions[0].choices)


@dataclass(slots=True)
class Found:
    """texts: the answers. scores: of each choice. ids: the tokens of an answer, where a way tells them."""

    seconds: float
    texts: list[str] = field(default_factory=list)
    scores: list[list[float]] = field(default_factory=list)
    ids: list[list[int]] = field(default_factory=list)


# ------------------------------------------------------------------------------------------------------- the questions


def cases(tokenizer: Any) -> Iterator[Case]:
    few = max(1, ARGS.prompts // 4)
    data = ARGS.shared / "data"
    if not data.is_dir():
        print(f"{ARGS.shared} is not there: the texts are the built-in ones, with drawn lengths", flush=True)
        shared = drawn_texts(tokenizer, 1, 600)[0]
        yield Case("e2e", plain(drawn_texts(tokenizer, ARGS.prompts, 40)))
        yield Case("gsm8k", plain([shared + text for text in drawn_texts(tokenizer, few, 60)]))
        texts = [f"{shared}{text}\nAnswer:" for text in drawn_texts(tokenizer, few, 100)]
        yield Case("mmlu", plain(texts, choices=(" A", " B", " C", " D")))
        return
    folder = Path(tempfile.mkdtemp(dir=SCRATCH))
    task = folder / "e2e.yaml"
    task.write_text(
        f"records: {data}/e2e/devset.csv\nprompt: |-\n  {{{{ mr }}}}\n  Description:\nanswer: '{{{{ ref }}}}'\n"
    )
    rows = {q.text: q for q in questions(load_task(str(task)))}
    yield Case("e2e", list(rows.values())[: ARGS.prompts])
    train = str(data / "gsm8k/train.jsonl")
    gsm8k = load_task("gsm8k", train, train, 4)
    yield Case("gsm8k", list(questions(gsm8k, limit=few)), stop=tuple(gsm8k.stop))
    mmlu = load_task("mmlu", str(data / "mmlu/test"), str(data / "mmlu/dev"), 2)
    yield Case("mmlu", list(itertools.islice(questions(mmlu), few)))


def drawn_texts(tokenizer: Any, count: int, median: int) -> list[str]:
    """Pieces of the built-in prose, their lengths in tokens log-normal."""
    text = builtin.GENERAL[0].read_text(encoding="utf-8")
    ids = tokenizer(text * (1 + 3 * count * median // len(text)), add_special_tokens=False).input_ids
    draw = torch.Generator().manual_seed(count)
    lengths = (torch.randn(count, generator=draw) * 0.4).exp().mul(median).long().clamp(min=4).tolist()
    ends = list(itertools.accumulate(lengths))
    return [tokenizer.decode(ids[end - n : end]) for n, end in zip(lengths, ends, strict=True)]


def plain(texts: Sequence[str], choices: tuple[str, ...] = ()) -> list[Question]:
    return [
        Question(number, Source("drawn", number), text=text, references=choices[:1], choices=choices)
        for number, text in enumerate(texts, start=1)
    ]


def ragged_case() -> tuple[Path, Case]:
    """The beginnings of stories, and a model that knows how to end them."""
    model, stories = ARGS.shared / "models/stories260K", ARGS.shared / "data/text/tinystories_a.jsonl"
    if not model.is_dir():
        rows = json.loads(builtin.HELD_OUT.read_text(encoding="utf-8"))
        texts = [f"Human: {rows[i % len(rows)]['instruction']}\n\nAssistant:" for i in range(ARGS.prompts)]
        return builtin.MODEL, Case("ragged", plain(texts), RAGGED_NEW)
    with stories.open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"][:120].rstrip() for line in itertools.islice(file, ARGS.prompts)]
    return model, Case("ragged", plain(texts), RAGGED_NEW)


def random_weights(folder: Path) -> None:
    """A model of the shape that has the vocabulary of GPT-2's tokenizer, or the built-in one's."""
    given = ARGS.shared / "tokenizers/gpt2"
    tokenizer = transformers.AutoTokenizer.from_pretrained(given if given.is_dir() else builtin.MODEL)
    end = tokenizer.eos_token_id
    model = work.random_model(ARGS.shape, "float32", vocab_size=len(tokenizer), eos_token_id=end, pad_token_id=end)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


# ------------------------------------------------------------------------------------------------------- the three ways


class Lorafit:
    """What `lorafit evaluate` does for one speaker and part (assess/conduct.py)."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.engine = Engine(model, lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True)))
        assert self.engine.fallback is None, self.engine.fallback
        self.renderer = Renderer(tokenizer, choose_template(tokenizer))

    def __call__(self, case: Case, asked: Sequence[Question]) -> Found:
        folder = Path(tempfile.mkdtemp(dir=SCRATCH))
        write_questions(asked, folder / "questions.jsonl")
        began = time.perf_counter()
        way = Way(self.engine, self.renderer, None, case.new, case.stop)
        chosen = Hardware(torch.device("cpu"), torch.float32, "a benchmark")
        with Journal(folder / "answers.jsonl") as journal, float32_through_onednn(chosen):  # as `lorafit evaluate` does
            do = choose if case.choices else answer
            do(way, read_questions(folder / "questions.jsonl"), journal, lambda done: None)
        seconds = time.perf_counter() - began
        assert not way.cut and not way.unasked
        results = list(journal.results(question.number for question in asked))
        if case.choices:
            return Found(seconds, scores=[[one[0] for one in result["choices"]] for result in results])
        return Found(seconds, texts=[result["text"] for result in results])


class Loop:
    """The script that one would write with transformers alone."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.end = tokenizer.eos_token_id
        own = model.generation_config.eos_token_id
        self.ends = {self.end, *(own if isinstance(own, list) else [own])}

    def __call__(self, case: Case, asked: Sequence[Question]) -> Found:
        began = time.perf_counter()
        found = self.scored(asked) if case.choices else self.generated(case, asked)
        found.seconds = time.perf_counter() - began
        return found

    def generated(self, case: Case, asked: Sequence[Question]) -> Found:
        prompts = self.tokenizer([question.text for question in asked]).input_ids
        settings = transformers.GenerationConfig(
            max_new_tokens=case.new, do_sample=False, eos_token_id=sorted(self.ends), pad_token_id=self.end
        )
        ids: list[list[int]] = [[] for _ in asked]
        for group in in_batches([len(prompt) for prompt in prompts]):
            longest = max(len(prompts[i]) for i in group)
            fill = [longest - len(prompts[i]) for i in group]
            rows = torch.tensor([[self.end] * n + prompts[i] for n, i in zip(fill, group, strict=True)])
            visible = torch.tensor([[0] * n + [1] * (longest - n) for n in fill])
            made = self.model.generate(input_ids=rows, attention_mask=visible, generation_config=settings)
            for i, tokens in zip(group, made[:, longest:].tolist(), strict=True):
                ids[i] = list(itertools.takewhile(lambda token: token not in self.ends, tokens))
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        for stop in case.stop:
            texts = [text.split(stop)[0] for text in texts]
        return Found(0, texts=[trimmed(text) for text in texts], ids=ids)

    @torch.no_grad()
    def scored(self, asked: Sequence[Question]) -> Found:
        pairs = [(self.tokenizer.encode(q.text), self.tokenizer.encode(q.text + c)) for q in asked for c in q.choices]
        values = [0.0] * len(pairs)
        for group in in_batches([len(whole) for _, whole in pairs]):
            longest = max(len(pairs[i][1]) for i in group)
            rows = torch.tensor([pairs[i][1] + [self.end] * (longest - len(pairs[i][1])) for i in group])
            first = min(len(pairs[i][0]) for i in group) - 1
            # What is on the right of a text cannot be seen from it: no mask is needed.
            logits = self.model(input_ids=rows, use_cache=False, logits_to_keep=longest - first).logits
            for row, i in enumerate(group):
                context, whole = pairs[i]
                logprobs = logits[row, len(context) - 1 - first : len(whole) - 1 - first].log_softmax(-1)
                values[i] = float(logprobs.gather(1, torch.tensor(whole[len(context) :])[:, None]).sum())
        each = iter(values)
        return Found(0, scores=[[next(each) for _ in question.choices] for question in asked])


class Harness:
    """A process of lm-evaluation-harness that waits for its turn."""

    def __init__(self, python: str, folder: Path, batch: str) -> None:
        offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
        command = [python, str(WORKER), str(folder), batch, str(ARGS.threads)]
        self.log = tempfile.TemporaryFile(dir=SCRATCH)  # noqa: SIM115 - as long as the process
        self.process = subprocess.Popen(
            command, env=offline, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )

    def __call__(self, case: Case, asked: Sequence[Question]) -> Found:
        job: dict[str, Any] = {"texts": [q.text for q in asked], "new": case.new, "stop": list(case.stop)}
        if case.choices:
            job = {"pairs": [(q.text, c) for q in asked for c in q.choices]}
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        reply = self.process.stdout.readline()
        if not reply:
            self.log.seek(0)
            raise SystemExit(f"the harness failed:\n{self.log.read().decode()[-2000:]}")
        said = json.loads(reply)
        if case.choices:
            each = iter(said["found"])
            return Found(said["seconds"], scores=[[next(each) for _ in q.choices] for q in asked])
        return Found(said["seconds"], texts=[trimmed(text) for text in said["found"]])

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.log.close()


def in_batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """The places of texts, 8 of about one length at a time, the longest first."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    for first in range(0, len(order), BATCH):
        yield order[first : first + BATCH]


def trimmed(text: str) -> str:
    """As lorafit keeps an answer: without white space around it, or half a character at its end."""
    return text.strip().rstrip("\ufffd").rstrip()


# ---------------------------------------------------------------------------------------------------------- comparison


@torch.no_grad()
def agreement(loop: Loop, case: Case, expected: Found, found: Found) -> tuple[int, int]:
    """(equal answers, answers that part where the two best tokens or choices are nearly as good)."""
    if case.choices:
        same = near = 0
        for one, other in zip(expected.scores, found.scores, strict=True):
            best = sorted(one)[-2:]
            same += (equal := one.index(max(one)) == other.index(max(other)))
            near += not equal and best[1] - best[0] < MARGIN
        return same, near
    pairs = zip(expected.texts, found.texts, strict=True)
    parted = [i for i, (one, other) in enumerate(pairs) if one != trimmed(other)]
    near = sum(parts_at_a_tie(loop, case.questions[i].text, expected.ids[i], trimmed(found.texts[i])) for i in parted)
    return len(case.questions) - len(parted), near


def parts_at_a_tie(loop: Loop, prompt: str, ids: list[int], other: str) -> bool:
    """Whether the text `other` leaves the answer of these ids where the model hardly prefers one token."""
    prompt_ids = loop.tokenizer(prompt).input_ids
    logits = loop.model(torch.tensor([[*prompt_ids, *ids]])).logits[0, len(prompt_ids) - 1 :]
    best = logits.topk(2).values
    ties = [i for i, (one, two) in enumerate(best.tolist()) if one - two < MARGIN]
    decoded = [loop.tokenizer.decode(ids[:i], skip_special_tokens=True).strip() for i in range(len(ids) + 1)]
    agreed = max(i for i, text in enumerate(decoded) if other.startswith(text.rstrip("\ufffd")))
    return any(agreed - 1 <= i <= agreed for i in ties)


def compare(case: Case, ways: dict[str, Callable[[Case, Sequence[Question]], Found]], loop: Loop) -> None:
    for way in ways.values():
        way(case, case.questions[:2])
    found: dict[str, list[Found]] = {name: [] for name in ways}
    for number in range(ARGS.rounds):
        for name in reversed(ways) if number % 2 else ways:
            found[name].append(ways[name](case, case.questions))
    expected = found["loop"][0]
    if case.choices:
        tokens = sum(len(ids) for ids in loop.tokenizer([question.text for question in case.questions]).input_ids)
    else:
        tokens = sum(map(len, expected.ids))
    count = len(case.questions)
    rates = {}
    for name, runs in found.items():
        seconds = min(run.seconds for run in runs)
        rates[name] = count / seconds
        same, near = agreement(loop, case, expected, runs[0])
        print(f"{case.name:8}{name:14}{count:5}{seconds:9.2f}{rates[name]:11.2f}{tokens / seconds:10.0f}", end="")
        print(f"{same:8}{near:6}{count - same - near:7}", flush=True)
    ours = rates.pop("lorafit")
    print(f"{case.name:8}lorafit / the better one of the others: {ours / max(rates.values()):.2f}", flush=True)


def run(folder: Path, given: Sequence[Case]) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    loop = Loop(model, tokenizer)
    harnesses = {f"harness, {size}": Harness(ARGS.harness, folder, size) for size in ARGS.batches if ARGS.harness}
    try:
        for case in given:
            compare(case, {"lorafit": Lorafit(model, tokenizer), "loop": loop, **harnesses}, loop)
    finally:
        for harness in harnesses.values():
            harness.close()


def main() -> None:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if not ARGS.harness:
        print("without lm-evaluation-harness (--harness PYTHON)")
    load = os.getloadavg()[0]
    print(f"{ARGS.shape}, float32, {ARGS.threads} threads, best of {ARGS.rounds} rounds, load before {load:.1f}")
    print(f"{'':22}{'count':>5}{'seconds':>9}{'samples/s':>11}{'tokens/s':>10}{'same':>8}{'near':>6}{'other':>7}")
    if {*ARGS.cases} - {"ragged"}:
        random_weights(folder := SCRATCH / "random")
        given = cases(transformers.AutoTokenizer.from_pretrained(folder))
        run(folder, [case for case in given if case.name in ARGS.cases])
    if "ragged" in ARGS.cases:
        folder, case = ragged_case()
        run(folder, [case])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="lorafit-evaluate-") as temporary:
        SCRATCH = Path(temporary)
        main()
