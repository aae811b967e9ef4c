"""Packages that only some metrics need."""

from __future__ import annotations

import importlib
from typing import Any

from lorafit.errors import DataError


def needed(module: str, use: str, extra: str = "evaluate") -> Any:
    """The module, or a DataError that says what needs it and how to install it: `extra` is lorafit's extra with it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise
        raise DataError(
            f"{use} needs the package {package}, which is not installed.\n"
            f"Install it with `pip install 'lorafit[{extra}]'` (or `pip install {package}`), or leave that metric out."
        ) from None
