"""``If`` against a model, through the whole front end: what is true, what is submitted, and who may then change what.

The model is written from RFC 4918 sections 6.4, 7 and 10.4: a resource has tokens and an entity tag, a header is alternatives of
conditions.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.webdav import DAV, Dav, webdav
from vfgateway.model import Permission

LOCK = '<lockinfo xmlns="DAV:"><lockscope><{}/></lockscope><locktype><write/></locktype></lockinfo>'
PATCH = b'<propertyupdate xmlns="DAV:"><set><prop><note xmlns="urn:x">1</note></prop></set></propertyupdate>'
ASK = b'<propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>'

#: Locks by a name of the test's: who takes it, on what, depth, scope.
LOCKS = {
    "mine": ("alice", "mine", "0", "exclusive"),
    "hers": ("alice", "both", "0", "shared"),
    "his": ("bob", "both", "0", "shared"),
    "tree": ("alice", "tree", "infinity", "exclusive"),
    "flat": ("bob", "flat", "0", "exclusive"),
}
#: The locks that cover each resource.
OVER = {
    "free": set(),
    "mine": {"mine"},
    "both": {"hers", "his"},
    "tree/": {"tree"},
    "tree/f": {"tree"},
    "tree/none": {"tree"},
    "flat/": {"flat"},
    "flat/f": set[str](),
    "none": set(),
}
FILES = ["free", "mine", "both", "tree/f", "flat/f"]
ABSENT = {"none", "tree/none"}


@attrs.frozen
class Condition:
    """A state token (the name of a lock, or a URI as it is), or the entity tag of a file (with ``weak``, its weak form)."""

    token: str = ""
    tag_of: str = ""
    weak: bool = False
    negated: bool = False


@attrs.frozen
class Alternative:
    """A list of conditions, about ``resource`` or, without one, about what is asked for."""

    resource: str | None
    conditions: tuple[Condition, ...]


@attrs.frozen
class Asked:
    """One request."""

    user: str
    method: str
    target: str
    alternatives: tuple[Alternative, ...]
    absolute: bool
    gap: str


conditions = st.one_of(
    st.builds(
        Condition,
        token=st.sampled_from([*LOCKS, "DAV:no-lock", "opaquelocktoken:bogus"]),
        negated=st.booleans(),
    ),
    st.builds(
        Condition,
        tag_of=st.sampled_from([*FILES, "?"]),
        weak=st.sampled_from([False] * 5 + [True]),
        negated=st.booleans(),
    ),
)
lists = st.lists(conditions, min_size=1, max_size=3).map(tuple)
headers = st.one_of(
    st.lists(st.builds(Alternative, st.none(), lists), min_size=1, max_size=3),
    st.lists(st.builds(Alternative, st.sampled_from([*OVER, "//elsewhere"]), lists), min_size=1, max_size=3),
)
requests = st.builds(
    Asked,
    st.sampled_from(["alice", "bob"]),
    st.sampled_from(["PROPPATCH", "PROPFIND"]),
    st.sampled_from(list(OVER)),
    headers.map(tuple),
    st.booleans(),
    st.sampled_from(["", " ", "  "]),
)


class World:
    """What there is: the same for the gateway and for the model."""

    def __init__(self, dav: Dav) -> None:
        self._dav = dav
        self._host = f"127.0.0.1:{dav.port}"
        self._tokens: dict[str, str] = {}
        self._tags: dict[str, str] = {"?": '"no such tag"'}

    async def make(self) -> None:
        """Files, collections, locks."""
        await self._dav.let_in("bob", Permission.RWD)
        for name in ("tree", "flat"):
            (self._dav.root / name).mkdir()
        for number, name in enumerate(FILES):
            (self._dav.root / name).write_bytes(b"x" * number)
            self._tags[name] = (await self._dav.ask("HEAD", f"/data/{name}")).headers["etag"]
        for name, (user, target, depth, scope) in LOCKS.items():
            answer = await self._dav.ask("LOCK", f"/data/{target}", LOCK.format(scope).encode(), user, Depth=depth)
            assert answer.status == 200
            self._tokens[name] = answer.headers["lock-token"].strip("<>")

    def _written(self, asked: Asked) -> str:
        parts: list[str] = []
        named: str | None = None
        for alternative in asked.alternatives:
            if alternative.resource is not None and alternative.resource != named:
                named = alternative.resource
                base = f"http://{self._host}" if asked.absolute else ""
                parts.append("<http://elsewhere/data/mine>" if named == "//elsewhere" else f"<{base}/data/{named}>")
            inner = asked.gap.join(self._condition(condition) for condition in alternative.conditions)
            parts.append(f"({inner})")
        return asked.gap.join(parts)

    def _condition(self, condition: Condition) -> str:
        if condition.tag_of:
            text = f"[{'W/' if condition.weak else ''}{self._tags[condition.tag_of]}]"
        else:
            text = f"<{self._tokens.get(condition.token, condition.token)}>"
        return f"Not {text}" if condition.negated else text

    @staticmethod
    def holds(asked: Asked) -> bool:
        """Whether the header is true."""

        def met(resource: str, condition: Condition) -> bool:
            if condition.tag_of:
                true = condition.tag_of == resource and not condition.weak
            else:
                true = condition.token in OVER.get(resource, set())
            return true != condition.negated

        return any(
            all(met(alternative.resource or asked.target, condition) for condition in alternative.conditions)
            for alternative in asked.alternatives
        )

    def expected(self, asked: Asked) -> int:
        """The status."""
        if not self.holds(asked):
            return 412
        if asked.target in ABSENT:
            return 404
        over = OVER[asked.target]
        submitted = {condition.token for alternative in asked.alternatives for condition in alternative.conditions}
        held = {name for name in over & submitted if LOCKS[name][0] == asked.user}
        return 423 if asked.method == "PROPPATCH" and over and not held else 207

    async def check(self, asked: Asked) -> None:
        """Ask, and compare."""
        header = self._written(asked)
        body = PATCH if asked.method == "PROPPATCH" else ASK
        fields = {"If": header, "Host": self._host, "Depth": "0"}
        answer = await self._dav.ask(asked.method, f"/data/{asked.target}", body, asked.user, **fields)
        assert answer.status == self.expected(asked), (asked, header, answer.body)
        assert answer.status != 207 or DAV[1:-1].encode() in answer.body


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(requests, min_size=25, max_size=60))
async def test_if_agrees_with_the_model(history: list[Asked]) -> None:
    """Reads and changes, by who holds locks and who does not, with all kinds of headers; none of them changes a tag or a lock."""
    with TemporaryDirectory() as folder:
        async with webdav(Path(folder), storage={"durability": "none"}) as dav:
            world = World(dav)
            await world.make()
            for asked in history:
                await world.check(asked)
