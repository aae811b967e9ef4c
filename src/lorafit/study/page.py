"""A study as one page that needs nothing but itself, in the looks of a run's report."""

from __future__ import annotations

import time
from pathlib import Path

from jinja2 import StrictUndefined

from lorafit.report.templates import environment, script, style
from lorafit.run import write_text
from lorafit.study.axes import short_key, shown
from lorafit.study.folder import Study
from lorafit.study.plots import study_plots
from lorafit.study.table import best_lines, cell, faults_of, groups_of, measures_of

HERE = Path(__file__).parent
FEW = 5  # combinations: to here each has a column, beyond a row
PARTS = {"quality": "On held-out data", "training": "In training", "inference": "Afterwards"}


def write_page(study: Study) -> Path:
    """Write the study's page, whole or not at all; also of one that is not finished."""
    write_text(study.page, render(study, time.time()).encode("utf-8", "replace").decode())
    return study.page


def render(study: Study, now: float) -> str:
    """The page as text. now: Unix time."""
    groups, measures = groups_of(study), measures_of(study)
    states = [entry.state for entry in study.entries]
    code, code_hash = script()
    return (
        environment(HERE, undefined=StrictUndefined)
        .get_template("study.html")
        .render(
            name=study.path.resolve().name,
            axes={short_key(key, study.axes): [shown(value) for value in values] for key, values in study.axes.items()},
            seeds=study.seeds,
            base=study.recipe["model"]["name"],
            data=shown(study.recipe["data"]["train"]),
            entries=study.entries,
            groups=groups,
            parts=[
                (title, [(m, [cell(group, m) for group in groups]) for m in measures if m.part == part])
                for part, title in PARTS.items()
            ],
            upright=len(groups) <= FEW,
            sentences=list(best_lines(study)),
            faults=faults_of(study),
            finished=states.count("finished"),
            state="finished" if all(s in ("finished", "failed") for s in states) else "running",
            seconds=sum(entry.seconds for entry in study.entries),
            plots=study_plots(study),
            now=now,
            style=style(),
            script=code,
            script_hash=code_hash,
        )
    )
