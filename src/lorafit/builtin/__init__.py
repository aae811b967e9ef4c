"""The built-in base model and data: a small bilingual world, so that lorafit can show itself without a download.

The base was pre-trained by `pretraining/pretrain.py` on text written by `pretraining/world.py`; see model/README.md.
"""

from pathlib import Path

NAME = "builtin"
MODEL = Path(__file__).parent / "model"
TRAIN = Path(__file__).parent / "data" / "train.json"
HELD_OUT = Path(__file__).parent / "data" / "held_out.json"
# Prose about many things, written for this: what a model forgets of the world shows in how likely it finds it.
GENERAL = tuple(Path(__file__).parent / "text" / f"general_{language}.txt" for language in ("en", "zh"))
