"""Names are unique for each user, and what was once shown leads to the same vfolder for as long as it is there."""

from __future__ import annotations

from uuid import UUID

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vfgateway.model import Limits, QuotaScopeId, ScopeKind, VFolder, VFolderId, VFolderStatus
from vfgateway.services.shown_names import Candidate, ShownName, assign, current_names

OWNERS = {UUID(int=1): "alice", UUID(int=2): "bob", UUID(int=3): None}
#: Names that are likely to be mistaken for one another, the longest possible one, and one of multi-byte characters.
NAMES = ["data", "data [alice]", "data [bob]", "data [00000000]", "x" * 255, "ü" * 127]


def vfolder(key: int, name: str | None, owner: UUID | None) -> VFolder:
    vfid = VFolderId(QuotaScopeId(ScopeKind.USER, UUID(int=9)), UUID(int=key))
    return VFolder(key, vfid, "local", name, owner, ScopeKind.USER, VFolderStatus.READY, Limits(), float(key))


def candidate(folder: VFolder) -> Candidate:
    return Candidate(folder, OWNERS.get(folder.owner) if folder.owner else None)


def test_later_one_gets_its_owner_in_brackets() -> None:
    """The first comer has the plain name; the others tell whose they are."""
    alice, bob, carol = OWNERS
    folders = [vfolder(1, "data", alice), vfolder(2, "data", bob), vfolder(3, "data", carol), vfolder(4, None, alice)]
    names = [entry.name for entry in assign([candidate(folder) for folder in folders], [])]
    assert names == ["data", "data [bob]", "data [00000000]", f"{4:032x}"]


def test_long_names_stay_within_what_a_directory_can_hold() -> None:
    """Brackets are added at the cost of the name, between characters."""
    owner = "ö" * 127
    folders = [vfolder(1, "ü" * 127, UUID(int=1)), vfolder(2, "ü" * 127, UUID(int=2))]
    first, second = assign([Candidate(folder, owner) for folder in folders], [])
    assert first.name == "ü" * 127
    assert second.name.startswith("ü" * 50) and second.name.endswith("ö]")
    assert len(second.name.encode()) <= 255


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([*OWNERS, None])), max_size=12))
def test_every_vfolder_gets_a_name_of_its_own(wanted: list[tuple[str, UUID | None]]) -> None:
    """However alike names and owners are, no two vfolders of a user are shown under one name."""
    folders = [vfolder(key, name, owner) for key, (name, owner) in enumerate(wanted, 1)]
    fresh = assign([candidate(folder) for folder in folders], [])
    assert sorted(entry.vfolder_key for entry in fresh) == [folder.key for folder in folders]
    assert len({entry.name for entry in fresh}) == len(folders)
    assert all(len(entry.name.encode()) <= 255 and "/" not in entry.name for entry in fresh)


class OneUsersView(RuleBasedStateMachine):
    """Vfolders come, go, are hidden, renamed and given away under the eyes of one user."""

    def __init__(self) -> None:
        super().__init__()
        self.folders: dict[int, VFolder] = {}
        self.hidden: set[int] = set()
        self.shown: dict[str, tuple[int, str]] = {}  # the table: name -> (key, base)
        self.promised: dict[str, int] = {}
        self.count = 0

    def rows(self) -> list[ShownName]:
        return [
            ShownName(name, key, base, self.folders[key].display_name == base, self.folders[key].owner)
            for name, (key, base) in self.shown.items()
        ]

    def taken(self, name: str, owner: UUID | None, besides: int = 0) -> bool:
        """The registry lets an owner use a name once."""
        same = ((one.name, one.owner) == (name, owner) for one in self.folders.values() if one.key != besides)
        return owner is not None and any(same)

    @rule(name=st.sampled_from(NAMES), owner=st.sampled_from([*OWNERS, None]))
    def create(self, name: str, owner: UUID | None) -> None:
        if not self.taken(name, owner):
            self.count += 1
            self.folders[self.count] = vfolder(self.count, name, owner)

    @precondition(lambda self: self.folders)
    @rule(data=st.data(), name=st.sampled_from(NAMES))
    def rename(self, data: st.DataObject, name: str) -> None:
        folder = self.folders[data.draw(st.sampled_from(sorted(self.folders)))]
        if not self.taken(name, folder.owner, folder.key):
            self.folders[folder.key] = attrs.evolve(folder, name=name)

    @precondition(lambda self: self.folders)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.folders)))
        del self.folders[key]
        self.shown = {name: row for name, row in self.shown.items() if row[0] != key}

    @precondition(lambda self: self.folders)
    @rule(data=st.data())
    def hide_or_show(self, data: st.DataObject) -> None:
        self.hidden ^= {data.draw(st.sampled_from(sorted(self.folders)))}

    @rule()
    def look(self) -> None:
        before = {name: key for name, (key, _) in self.shown.items()}
        current_before = current_names(self.rows())
        visible = [folder for folder in self.folders.values() if folder.key not in self.hidden]
        for entry in assign([candidate(folder) for folder in visible], self.rows()):
            self.shown[entry.name] = (entry.vfolder_key, entry.base)
        names = current_names(self.rows())
        for folder in visible:
            assert self.shown[names[folder.key]][0] == folder.key
        for key, name in current_before.items():
            assert names[key] == name, "a name that still fits was changed"
        for name, key in before.items():
            now = self.shown[name][0]
            if now != key:
                assert self.folders[now].owner == self.folders[key].owner, "an old name leads to another owner's files"

    @invariant()
    def rows_have_vfolders(self) -> None:
        assert all(key in self.folders for key, _ in self.shown.values())


TestOneUsersView = OneUsersView.TestCase
TestOneUsersView.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
