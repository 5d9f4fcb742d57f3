"""Who may change which part of a vfolder now: overlapping changes of one process take turns, in the order in which they came."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from twisted.internet.defer import Deferred

from vfgateway.paths import FolderPath

type_change = tuple[FolderPath, bool]


def overlap(a: type_change, b: type_change) -> bool:
    """Whether two changes (a path, and whether it takes all below it) touch the same entry."""
    (path, tree), (other, other_tree) = a, b
    return path == other or (tree and other.within(path)) or (other_tree and path.within(other))


@attrs.define(eq=False)
class Turn:
    """One change's place in the queue. ``ready`` fires when it may go on; ``None`` once it has."""

    changes: Sequence[type_change]
    ready: Deferred[None] | None = None

    def conflicts(self, other: Turn) -> bool:
        """Whether the two cannot go on at the same time."""
        return any(overlap(mine, its) for mine in self.changes for its in other.changes)


class Turns:
    """The changes under way in this process, by vfolder."""

    def __init__(self) -> None:
        self._queues: dict[int, list[Turn]] = {}

    async def take(self, vfolder: int, changes: Sequence[type_change]) -> Turn:
        """Return when nothing that came before is in the way. Give the turn back with :meth:`leave`; a cancelled wait has left."""
        turn = Turn(changes)
        queue = self._queues.setdefault(vfolder, [])
        blocked = any(turn.conflicts(earlier) for earlier in queue)
        queue.append(turn)
        if blocked:
            turn.ready = Deferred()
            try:
                await turn.ready
            except BaseException:
                self.leave(vfolder, turn)
                raise
        return turn

    def is_free(self, vfolder: int, change: type_change) -> bool:
        """Whether a change would be in nobody's way."""
        queue = self._queues.get(vfolder)
        return not queue or not any(overlap(change, its) for turn in queue for its in turn.changes)

    def leave(self, vfolder: int, turn: Turn) -> None:
        """Let the next ones go on. Idempotent."""
        queue = self._queues.get(vfolder, [])
        if turn not in queue:
            return
        queue.remove(turn)
        if not queue:
            del self._queues[vfolder]
        for at, waiting in enumerate(queue):
            ready = waiting.ready
            if ready is not None and not any(waiting.conflicts(earlier) for earlier in queue[:at]):
                waiting.ready = None
                if not ready.called:
                    ready.callback(None)
