"""What paths are called in the metrics: by the routes that there are, so that clients cannot invent names."""

from __future__ import annotations

from collections.abc import Sequence


class Endpoints:
    """Maps paths to the literal beginnings of routes.

    :param routes: templates of routes, their variable parts in angle brackets
    """

    def __init__(self, routes: Sequence[str]) -> None:
        heads = {route.partition("<")[0].rstrip("/") or "/" for route in routes}
        variable = {route.partition("<")[0].rstrip("/") for route in routes if "<" in route}
        self._labels = {head.encode("utf-8"): f"{head}/{{}}" if head in variable else head for head in heads}
        self._exact = {head.encode("utf-8"): head for head in heads}

    def __call__(self, path: bytes) -> str:
        """The label; ``""`` for a path that no route begins like."""
        head = path.rstrip(b"/") or b"/"
        if head in self._exact:
            return self._exact[head]
        while head:
            head = head.rpartition(b"/")[0]
            if head in self._labels:
                return self._labels[head]
        return ""
