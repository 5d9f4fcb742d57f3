"""Query parameters of the reference's routes: each is known and typed, and any other is refused, in the reference's words."""

from __future__ import annotations

from collections.abc import Collection

from vfgateway.errors import GatewayError
from vfgateway.protocols.web.request import StreamingRequest

_TRUE = frozenset({"t", "true", "y", "yes", "on", "1"})
_FALSE = frozenset({"false", "n", "no", "off", "0"})


class BadParameters(GatewayError):
    """Parameters that cannot be used: ``data`` says why, by name; ``reason`` is the refusal behind it, if it is one."""

    reason: GatewayError | None = None

    def __init__(self, data: dict[str, str]) -> None:
        self.data = data
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in data.items()))


class Query:
    """The query of ``request``. Raises :class:`BadParameters` at once for names that are not in ``known``.

    Bytes that are not UTF-8 become surrogate escapes, as in paths.
    """

    def __init__(self, request: StreamingRequest, known: Collection[str]) -> None:
        self._values = {_text(name): _text(values[0]) for name, values in (request.args or {}).items()}
        unknown = [name for name in self._values if name not in known]
        if unknown:
            raise BadParameters({ascii(name)[1:-1]: f"{ascii(name)[1:-1]} is not allowed key" for name in unknown})

    def text(self, name: str) -> str:
        """A parameter that must be there."""
        value = self._values.get(name)
        if value is None:
            raise BadParameters({name: "is required"})
        return value

    def optional(self, name: str) -> str | None:
        """A parameter that may be missing."""
        return self._values.get(name)

    def flag(self, name: str) -> bool:
        """A truth value; false if missing."""
        value = self._values.get(name, "false").lower()
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
        raise BadParameters({name: "value can't be converted to Bool"})

    def number(self, name: str, default: int, most: int) -> int:
        """An integer from 1 to ``most``."""
        value = self._values.get(name)
        if value is None:
            return default
        if not (value.isascii() and value.isdecimal() and len(value) < 18 and 1 <= int(value) <= most):
            raise BadParameters({name: f"should be a number from 1 to {most}"})
        return int(value)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
