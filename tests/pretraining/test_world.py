"""The micro-world of the demo: what it writes is fixed, and its held-out residents are really held out."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
BUILTIN = ROOT / "src" / "lorafit" / "builtin"


def load_world_module() -> ModuleType:
    """Import the generator by its path: `pretraining` is a folder of scripts, not a package."""
    spec = importlib.util.spec_from_file_location("lorafit_pretraining_world", ROOT / "pretraining" / "world.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their own module up by name while they are being defined.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


world_module = load_world_module()


@pytest.fixture(scope="module")
def world():
    return world_module.build_world()


@pytest.fixture(scope="module")
def rows(world):
    return world_module.instruction_rows(world)


@pytest.fixture(scope="module")
def documents(world):
    return list(world_module.corpus_documents(world, rounds=1))


def test_generator_is_deterministic(world, rows, documents):
    again = world_module.build_world()
    assert again == world
    assert world_module.instruction_rows(again) == rows
    assert list(world_module.corpus_documents(again, rounds=1)) == documents


def test_another_seed_gives_another_corpus(world, documents):
    assert list(world_module.corpus_documents(world, rounds=1, seed=world_module.SEED + 1)) != documents


def test_committed_rows_are_what_the_generator_writes(world, tmp_path):
    world_module.write_rows(world, tmp_path)
    for name in ("train.json", "held_out.json"):
        assert (BUILTIN / "data" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_no_training_row_names_a_held_out_resident(world, rows):
    train, _ = rows
    text = json.dumps(train, ensure_ascii=False)
    for resident in world.held_out:
        assert resident.name.en not in text
        assert resident.name.zh not in text


def test_no_held_out_prompt_is_a_training_prompt(rows):
    train, held_out = rows
    prompts = [{(row["instruction"], row["input"]) for row in part} for part in rows]
    assert prompts[0].isdisjoint(prompts[1])
    assert len(prompts[1]) == len(held_out)
    assert 800 <= len(train) <= 1200
    assert 150 <= len(held_out) <= 250


def test_a_leaked_name_is_refused(world, rows):
    train, held_out = rows
    leaked = [*train, {"instruction": "Who is this?", "input": "", "output": world.held_out[0].name.zh}]
    with pytest.raises(ValueError, match="named in a training row"):
        world_module.check_separation(world, leaked, held_out)


def test_a_repeated_prompt_is_refused(world, rows):
    train, held_out = rows
    with pytest.raises(ValueError, match="also a training prompt"):
        world_module.check_separation(world, train, [*held_out, train[0]])


def test_every_held_out_fact_is_told_in_both_languages(world, documents):
    for language in world_module.LANGUAGES:
        for resident in world.held_out:
            about = " ".join(text for text in documents if resident.name.text(language) in text).lower()
            for value in resident.facts.values():
                assert value.text(language).lower() in about


def test_the_corpus_is_prose_not_chat(documents):
    text = "\n".join(documents)
    assert "Human:" not in text
    assert "Assistant:" not in text


def test_no_answer_stands_in_the_corpus(rows, documents):
    text = "\n".join(documents)
    for part in rows:
        assert not [row["output"] for row in part if row["output"] in text]


def test_every_row_is_complete(rows):
    for part in rows:
        for row in part:
            assert set(row) == {"instruction", "input", "output"}
            assert row["instruction"].strip() and row["output"].strip()
            assert all(line.strip() for line in row["input"].split("\n")) or row["input"] == ""


def test_pre_training_shows_every_token_of_the_rows(rows, documents):
    """Fine-tuning leaves the embeddings as they are, so a token that the corpus never shows would stay noise."""
    tokenizer = Tokenizer.from_file(str(BUILTIN / "model" / "tokenizer.json"))
    shown = {token for encoding in tokenizer.encode_batch(documents) for token in encoding.ids}
    texts = [
        f"Human: {row['instruction']}\n{row['input']}\n\nAssistant: {row['output']}" for part in rows for row in part
    ]
    asked = {token for encoding in tokenizer.encode_batch(texts) for token in encoding.ids}
    assert {tokenizer.id_to_token(token) for token in asked - shown} == set()
