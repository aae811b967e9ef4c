"""How long a run will take, before any was made: the plan's clock."""

from __future__ import annotations

from dataclasses import replace

from lorafit.errors import LorafitError
from lorafit.observe.console import Console
from lorafit.recipe import Recipe


def planned_seconds(recipe: Recipe, remote_code: bool = False) -> float | None:
    """The seconds of a run's updates in the middle of the plan's band; None where it cannot be said."""
    from lorafit.model.load import empty_model  # torch takes seconds and memory, and a study does without
    from lorafit.plan.devices import find_device, measure_cpu
    from lorafit.plan.settle import Question, settle
    from lorafit.reading import model_of, samples_of

    try:
        folder, chosen, _ = model_of(recipe, remote_code)
        device = find_device(chosen.device.type)
        if device.kind == "cpu":
            rate, bandwidth = measure_cpu()
            device = replace(device, matrix_rate=rate, bandwidth=bandwidth)
        model = recipe.model.model_copy(update={"dtype": chosen.dtype_name})
        samples = samples_of(recipe, remote_code, Console(quiet=True))
        config = empty_model(folder, remote_code).config
        length = recipe.data.max_length
        _, plan = settle(
            Question(folder.name, config, model, recipe.adapter, recipe.train, device, samples, length, remote_code)
        )
    except LorafitError:  # the runs will say what is wrong
        return None
    band = plan.run_seconds()
    return None if band is None else band.middle
