"""A task as data: a YAML file that says how rows become questions, and what a good answer is (docs/tasks.md)."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import jinja2
import yaml
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from lorafit.errors import DataError, RecipeError
from lorafit.evaluate.metrics import named
from lorafit.settings import Settings

BUILT_IN = Path(__file__).parent / "tasks"
ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
    finalize=lambda value: "" if value is None else value,
)


def _compiles(text: str) -> str:
    try:
        ENVIRONMENT.from_string(text)
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno} is not Jinja2: {error.message}") from None
    return text


Template = Annotated[str, AfterValidator(_compiles)]


class Step(Settings):
    """A step of a filter: one of pattern, strip, lower, replace and map."""

    pattern: str = ""
    """A regular expression: what it finds is the answer; nothing, when it finds nothing."""

    take: Literal["first", "last"] = "first"
    """Which match of the pattern."""

    group: int | None = Field(None, ge=0)
    """Which group of the pattern: when empty the first, or the whole match of a pattern without groups."""

    strip: bool | str = False
    """true takes white space off both ends, a text takes its characters off."""

    lower: bool = False
    """Small letters."""

    replace: dict[str, str] = Field(default_factory=dict)
    """Texts anywhere in the answer, and what to put in their places."""

    map: dict[str, str] = Field(default_factory=dict)
    """Whole answers, and what they stand for; another answer stays."""

    @model_validator(mode="after")
    def _is_one_step(self) -> Step:
        actions = {
            name: getattr(self, name) for name in ("pattern", "strip", "lower", "replace", "map") if getattr(self, name)
        }
        if len(actions) != 1:
            raise ValueError(f"a step does one thing; this one does {' and '.join(actions) or 'nothing'}")
        if not self.pattern and self.model_fields_set & {"take", "group"}:
            raise ValueError("take and group belong to a pattern")
        try:
            groups = re.compile(self.pattern).groups
        except re.error as error:
            raise ValueError(f"the pattern {self.pattern!r} is no regular expression: {error}") from None
        if self.group is not None and self.group > groups:
            raise ValueError(f"the pattern {self.pattern!r} has {groups} groups, and not {self.group}")
        return self

    def apply(self, text: str) -> str:
        if self.pattern:
            matches = list(re.finditer(self.pattern, text))
            if not matches:
                return ""
            found = matches[0 if self.take == "first" else -1]
            return found[self.group if self.group is not None else min(1, found.re.groups)] or ""
        if self.strip:
            return text.strip(self.strip if isinstance(self.strip, str) else None)
        if self.lower:
            return text.lower()
        for wanted, instead in self.replace.items():
            text = text.replace(wanted, instead)
        return self.map.get(text, text)


class Task(Settings):
    """Templates are Jinja2 over the columns of a row. They also know `row` (all columns, for names that are no words),
    `file` (the file's name without ending, _test, _dev and _val), `category`, and `title` (how that is written)."""

    name: str = ""
    """What the task is called; its file's name when empty."""

    version: str = Field("1", coerce_numbers_to_str=True)
    """To be raised with every change that changes scores."""

    description: Template = ""
    """What is said before the shots."""

    records: str
    """The rows to ask: a file, folder, pattern or data set of a hub, as in data.train."""

    examples: str = ""
    """The rows that shots are drawn from. A row that serves as a shot is not asked."""

    shots: int = Field(0, ge=0)
    """How many examples with their answers stand before each question, of its category."""

    draw: Literal["first", "seed"] = "first"
    """Which examples: the first ones, or drawn by the seed; the same for every question of a category."""

    prompt: Template
    """The question as it is put."""

    answer: Template
    """The reference, or the name of a column with several; for choices the right one, or its place counted from 0."""

    shot_answer: Template = ""
    """The answer as it is written in shots, where that is not `answer`."""

    choices: Template | tuple[Template, ...] = ()
    """The answers to choose from: templates, one that gives a JSON list, or the name of a column that holds a list."""

    category: Template = ""
    """What scores are broken down by."""

    titles: dict[str, str] = Field(default_factory=dict)
    """How categories are written in texts, as {{ title }}; without one, `_` becomes a space."""

    metrics: tuple[str, ...] = Field(default=(), min_length=1)
    """Names of metrics, or functions as FILE.py:FUNCTION; exact_match when empty. Choices have accuracy."""

    filter: tuple[Step, ...] = ()
    """What is done to a generated answer before it is scored."""

    stop: tuple[str, ...] = ()
    """Texts that end an answer."""

    max_new_tokens: int = Field(256, ge=1)
    """The longest answer in tokens."""

    chat: bool = False
    """Ask in the model's chat template, shots as earlier turns; otherwise as plain text that the model goes on with."""

    columns: tuple[str, ...] = ()
    """Names of the columns of CSV files that have none."""

    separator: str = "\n\n"
    """What stands between the description, the shots and the question."""

    delimiter: str | None = None
    """What stands between a question and its answer in plain text: when empty a space, nothing after Han and kana."""

    normalise: Literal["", "tokens", "bytes"] = ""
    """Whether the log-likelihood of a choice is divided by its tokens or bytes."""

    @model_validator(mode="before")
    @classmethod
    def _scored_somehow(cls, content: Any) -> Any:
        if isinstance(content, dict) and not content.get("metrics"):
            return {**content, "metrics": ["accuracy" if content.get("choices") else "exact_match"]}
        return content

    @field_validator("metrics")
    @classmethod
    def _known(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        faults = []
        for name in metrics:
            try:
                named(name)
            except (DataError, RecipeError) as error:
                faults.append(str(error))
        if faults:
            raise ValueError("; ".join(faults))
        return metrics

    @model_validator(mode="after")
    def _is_possible(self) -> Task:
        if self.shots and not self.examples:
            raise ValueError(f"shots={self.shots} need `examples` to be drawn from")
        if self.choices and (self.filter or self.stop):
            raise ValueError("filter and stop are for generated answers, and this task chooses one of its choices")
        if self.choices and self.metrics != ("accuracy",):
            raise ValueError(f"choices are scored by accuracy, and not by {', '.join(self.metrics)}: leave metrics out")
        if self.normalise and not self.choices:
            raise ValueError("normalise is for choices, and this task has none")
        return self


def built_in() -> list[str]:
    """The names of the tasks that lorafit brings."""
    return sorted(path.stem for path in BUILT_IN.glob("*.yaml"))


def load_task(
    name_or_path: str, records: str | None = None, examples: str | None = None, shots: int | None = None
) -> Task:
    """A task of lorafit's by its name, or one of the user's by its file; the others take the place of what it says.

    Raises RecipeError for a task that is not there, and for a file with faults, with all of them.
    """
    path = Path(name_or_path).expanduser()
    if not path.is_file() and name_or_path in built_in():
        path = BUILT_IN / f"{name_or_path}.yaml"
    given = {"records": records, "examples": examples, "shots": shots}
    content = _read(path) | {name: value for name, value in given.items() if value is not None}
    try:
        task = Task.model_validate(content)
    except ValidationError as error:
        faults = tuple(_faults(error))
        head = "One fault" if len(faults) == 1 else f"{len(faults)} faults"
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise RecipeError(f"{head} in the task {path}:\n{listed}", faults) from None
    return task if task.name else task.model_copy(update={"name": path.stem})


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise RecipeError(f"There is no task {path}{_near(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"The task {path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"The task {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise RecipeError(f"The task {path} should hold `key: value` pairs, found {kind}.")
    return {str(key): value for key, value in content.items() if value is not None}


def _near(path: Path) -> str:
    files = sorted(path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
    near = difflib.get_close_matches(str(path), [*built_in(), *map(str, files)], n=3)
    meant = f"; did you mean {' or '.join(near)}?" if near else "."
    return f"{meant}\nlorafit brings {', '.join(built_in())}; any other is the path of a YAML file."


def _faults(error: ValidationError) -> list[str]:
    """Each fault with its path and what was found; of a union, that of the member that was meant."""
    messages: dict[str, str] = {}
    for fault in error.errors():
        known = {**Task.model_fields, **(Step.model_fields if fault["loc"][:1] == ("filter",) else {})}
        unknown = fault["type"] == "extra_forbidden"
        # The name of a union's member is a part of the place too, and says nothing to who wrote the file.
        parts = [part for part in fault["loc"] if unknown or isinstance(part, int) or part in known]
        path = ".".join(map(str, parts))
        text = fault["msg"].removeprefix("Value error, ")
        text = text[:1].lower() + text[1:]
        if unknown:
            fields = Step.model_fields if len(parts) > 1 else Task.model_fields
            near = difflib.get_close_matches(str(parts[-1]), fields, n=1)
            messages[path] = f"{path}: unknown key. " + (
                f"Did you mean {near[0]}?" if near else f"Valid keys: {', '.join(fields)}."
            )
        elif fault["type"] == "missing":
            messages[path] = f"{path}: missing. {known[str(parts[-1])].description or ''}"
        elif not path:
            messages[text] = text
        elif path in messages:
            messages[path] += f", or {text}"
        else:
            messages[path] = f"{path}: found {str(fault['input'])[:80]!r}; {text}"
    # Of a union, the member that the fault is furthest within is the one that was meant.
    return [text for path, text in messages.items() if not any(other.startswith(f"{path}.") for other in messages)]
