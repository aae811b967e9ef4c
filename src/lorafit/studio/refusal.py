"""What the studio says no to."""

from __future__ import annotations

from lorafit.errors import LorafitError


class StudioError(LorafitError):
    """The studio refuses what was asked of it: a path outside its workspace, a file that is no data, an unknown run."""
