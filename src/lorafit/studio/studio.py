"""What every screen is handed."""

from __future__ import annotations

from dataclasses import dataclass

from lorafit.studio.chats import Chats
from lorafit.studio.desk import Desk
from lorafit.studio.drafts import Drafts
from lorafit.studio.queue import Queue
from lorafit.studio.runs import Runs
from lorafit.studio.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Studio:
    workspace: Workspace
    runs: Runs
    queue: Queue
    drafts: Drafts
    desk: Desk
    chats: Chats


def open_studio(workspace: Workspace) -> Studio:
    return Studio(workspace, Runs(workspace), Queue(workspace), Drafts(workspace), Desk(workspace), Chats(workspace))
