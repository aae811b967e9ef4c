"""The recipes of runs, whoever wrote them."""

from __future__ import annotations

from pathlib import Path

from lorafit.recipe import Recipe, parse_recipe, read_content
from lorafit.studio.workspace import refuse_code


def recipe_of(file: Path) -> Recipe:
    """A recipe that runs no code. Raises RecipeError where it cannot be read, StudioError where it would run some.

    Whatever the studio parses, or starts a command on that does, goes through here first: a run folder may have come
    from somebody else. It may name paths outside the workspace, as one that was trained in a terminal does.
    """
    content = read_content(file)
    refuse_code(content)
    return parse_recipe(content, where=str(file))
