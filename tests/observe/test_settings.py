"""The `observe` part of a recipe."""

from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from lorafit.observe.settings import ObserveSettings


def test_a_bare_off_is_off_although_yaml_calls_it_false() -> None:
    assert ObserveSettings(**yaml.safe_load("wandb: off")).wandb == "off"
    assert ObserveSettings(**yaml.safe_load("wandb: offline")).wandb == "offline"


@pytest.mark.parametrize("wrong", [{"wandb": "on"}, {"tensorboard": "yes"}, {"hardware_every": 0}])
def test_anything_else_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ObserveSettings.model_validate(wrong)
