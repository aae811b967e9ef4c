"""Rows per second and memory of each cleaning rule over short rows, half of them English and half Chinese.

    python benchmarks/cleaning.py [--rows 100000] [--rules near_duplicates ...] [--threads 1]

Every rule works alone in a process of its own. Memory is what the process grew by: what a rule remembers, its package
and its model; the rows come as a stream and are let go.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import time
from collections.abc import Iterator
from typing import Any

RULES: dict[str, dict[str, Any]] = {
    "none": {},
    "mojibake": {"mojibake": "mend"},
    "control_characters": {"control_characters": "mend"},
    "unicode": {"unicode": "nfc"},
    "personal_data": {"personal_data": "mask"},
    "empty": {"empty": "drop"},
    "too_short": {"too_short": "drop"},
    "too_long": {"too_long": "drop"},
    "repeats": {"repeats": "drop"},
    "wrong_language": {"wrong_language": "drop", "languages": ["en", "zh"]},
    "in_held_out": {"in_held_out": "drop"},
    "exact_duplicates": {"exact_duplicates": "drop"},
    "same_prompt": {"same_prompt": "report"},
    "near_duplicates": {"near_duplicates": "drop"},
    "defaults": {},
}
OFF = ("control_characters", "unicode", "empty", "too_short", "in_held_out", "exact_duplicates", "same_prompt")
ENGLISH = (
    "the keeper a boat two children our village every evening after the storm before dinner with new ropes near the "
    "harbour climbs paints repairs remembers forgets sells the lighthouse an old map seven windows and then because "
    "nobody knows when where how it happened"
)
CHINESE = (
    "守塔人 渔船 孩子们 村子 每天傍晚 暴风之后 晚饭以前 用新绳子 在港口附近 爬上 粉刷 修理 记得 忘记 卖掉 灯塔"
    " 一张旧地图 七扇窗户 然后 因为 没有人 知道 什么时候 在哪里 怎么 发生"
)


def stream(rows: int, seed: int = 0) -> Iterator[Any]:
    """Prompts of about 10 words and answers of about 30; every tenth row stood there before."""
    from lorafit.records import Conversation, Message, Source

    draw = random.Random(seed)
    english, chinese = ENGLISH.split(), CHINESE.split()
    texts = ("", "")
    for number in range(1, rows + 1):
        if number % 10:
            words, space = (english, " ") if number % 2 else (chinese, "")
            texts = (
                space.join(draw.choices(words, k=10)) + str(number),
                space.join(draw.choices(words, k=30)) + ("." if space else "。"),
            )
        messages = (Message("user", texts[0]), Message("assistant", texts[1]))
        yield Conversation(messages, Source("rows.jsonl", number))


def measure(rule: str, rows: int, answer: Any) -> None:
    from lorafit.data.clean import Cleaner, CleanSettings

    settings = RULES[rule] if rule == "defaults" else dict.fromkeys(OFF, "off") | RULES[rule]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cleaner = Cleaner(CleanSettings.model_validate(settings), stream(rows // 20, seed=1))
    start = time.perf_counter()
    for _ in cleaner.stream(stream(rows)):
        pass
    seconds = time.perf_counter() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    told = cleaner.receipt.to_json()["rules"]
    answer.put((seconds, sum(one["seconds"] for one in told), grown, sum(one["found"] for one in told)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Rows per second and memory of each cleaning rule.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rules", nargs="*", choices=RULES, default=list(RULES))
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = str(asked.threads)
    spawn = multiprocessing.get_context("spawn")
    print(f"{asked.rows:,} rows, {asked.threads} threads")
    print(f"{'rule':<20}{'rows/s':>12}{'rule alone':>12}{'MB':>8}{'found':>10}")
    for rule in asked.rules:
        answer = spawn.Queue()
        worker = spawn.Process(target=measure, args=(rule, asked.rows, answer))
        worker.start()
        seconds, alone, grown, found = answer.get()
        worker.join()
        told = f"{asked.rows / alone:12,.0f}" if alone > 0.001 else f"{'':>12}"
        print(f"{rule:<20}{asked.rows / seconds:12,.0f}{told}{grown:8.0f}{found:10,}", flush=True)


if __name__ == "__main__":
    main()
