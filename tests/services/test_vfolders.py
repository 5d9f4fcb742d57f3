"""The registry: what is entered is found again, by everybody who may, under names that stay."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Table, func, select
from twisted.internet.task import Clock

from tests.support.databases import open_database
from vfgateway.errors import (
    Conflict,
    InvalidArgument,
    QuotaScopeExists,
    UnknownAccount,
    VFolderExists,
    VFolderNotFound,
)
from vfgateway.model import Limits, Permission, QuotaScopeId, ScopeKind, VFolder, VFolderId, VFolderStatus
from vfgateway.principals import ORCHESTRATOR, Principal, PrincipalKind, TokenScope
from vfgateway.services import schema
from vfgateway.services.database import FRESH, Database
from vfgateway.services.permissions import FULL_ACCESS, NO_ACCESS, Access
from vfgateway.services.vfolders import VFolders

ALICE, BOB, TEAM = UUID(int=0xA), UUID(int=0xB), UUID(int=0xC)


@pytest.fixture
def vfolders(database: Database, clock: Clock) -> VFolders:
    return VFolders(database, clock)


def vfid(owner: UUID = ALICE, kind: ScopeKind = ScopeKind.USER) -> VFolderId:
    return VFolderId(QuotaScopeId(kind, owner), uuid4())


def user(user_id: UUID, *groups: UUID, administrator: bool = False) -> Principal:
    return Principal(PrincipalKind.USER, str(user_id), user_id, groups=frozenset(groups), administrator=administrator)


async def account(database: Database, table: Table, account_id: UUID, name: str) -> None:
    values = {"id": str(account_id), "name": name, "created": 0.0}
    await database.write(lambda connection: connection.execute(table.insert().values(values)).rowcount)


async def names(vfolders: VFolders, principal: Principal) -> list[str]:
    return [entry.name for entry in await vfolders.visible(principal)]


# --- entering, finding, changing ---


async def test_entry_is_found_again(vfolders: VFolders, clock: Clock) -> None:
    """A vfolder is found by identifier and number, belonging to its scope's owner unless told otherwise."""
    identifier = vfid()
    made = await vfolders.create("local", identifier, name="data", limits=Limits(10, 5), expires=9e9)
    assert made == VFolder(
        made.key,
        identifier,
        "local",
        "data",
        ALICE,
        ScopeKind.USER,
        VFolderStatus.READY,
        Limits(10, 5),
        clock.seconds(),
        9e9,
    )
    assert await vfolders.get(identifier) == await vfolders.get(identifier, "local") == made
    assert await vfolders.by_key(made.key) == made
    assert list(await vfolders.list()) == [made]
    assert list(await vfolders.list("other")) == []


async def test_old_identifier_has_no_owner(vfolders: VFolders) -> None:
    """A vfolder of the old layout is nobody's until somebody says whose, and shows its digits."""
    made = await vfolders.create("local", VFolderId(None, UUID(int=5)))
    assert (made.owner, made.kind, made.display_name) == (None, ScopeKind.USER, f"{5:032x}")
    assert await vfolders.access(user(ALICE), made) == NO_ACCESS


async def test_identifier_is_taken_once_a_volume(vfolders: VFolders) -> None:
    """The same vfolder may lie on two volumes, and is then not found without saying on which."""
    identifier = vfid()
    first = await vfolders.create("one", identifier, name="a")
    with pytest.raises(VFolderExists):
        await vfolders.create("one", identifier)
    second = await vfolders.create("two", identifier, name="b")
    assert await vfolders.get(identifier, "two") == second != first
    with pytest.raises(Conflict, match="may be any of"):
        await vfolders.get(identifier)


async def test_owner_uses_a_name_once(vfolders: VFolders) -> None:
    """Two vfolders of one owner cannot have one name, neither from the start nor by a change; nameless ones do not collide."""
    first = await vfolders.create("local", vfid(), name="data")
    await vfolders.create("local", vfid(BOB), name="data")
    with pytest.raises(VFolderExists, match="data"):
        await vfolders.create("local", vfid(), name="data")
    second = await vfolders.create("local", vfid())
    await vfolders.create("local", vfid())
    with pytest.raises(VFolderExists, match="data"):
        await vfolders.update(second.key, name="data")
    assert (await vfolders.by_key(second.key)).name is None
    assert (await vfolders.by_key(first.key)).name == "data"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0", "a\nb", " a", "a ", "x" * 256, "\udcff", "a\u202eb"])
async def test_unusable_names_are_refused(vfolders: VFolders, name: str) -> None:
    """What cannot be one entry of a listing, or would deceive its reader, is no name."""
    with pytest.raises(InvalidArgument, match="name"):
        await vfolders.create("local", vfid(), name=name)
    made = await vfolders.create("local", vfid(), name=".Ünïcode 文 [x] + 1")
    with pytest.raises(InvalidArgument, match="name"):
        await vfolders.update(made.key, name=name)


async def test_update_changes_what_is_given(vfolders: VFolders) -> None:
    """Everything else stays, and the change is seen at once."""
    made = await vfolders.create("local", vfid(), name="data", limits=Limits(10))
    changed = await vfolders.update(made.key, status=VFolderStatus.CLONING, owner=TEAM, kind=ScopeKind.PROJECT)
    assert (changed.status, changed.owner, changed.kind) == (VFolderStatus.CLONING, TEAM, ScopeKind.PROJECT)
    assert (changed.name, changed.limits) == ("data", Limits(10))
    changed = await vfolders.update(made.key, limits=Limits(None, 3), name=None, expires=5.0)
    assert (changed.name, changed.limits, changed.expires) == (None, Limits(None, 3), 5.0)
    assert await vfolders.get(made.id) == changed
    with pytest.raises(VFolderNotFound):
        await vfolders.update(made.key + 1, name="x")


async def test_forgotten_vfolder_leaves_nothing(database: Database, vfolders: VFolders) -> None:
    """With the vfolder go its grants, names and figures; its identifier and name are free again, its number is never reused."""
    made = await vfolders.create("local", vfid(), name="data")
    kept = await vfolders.create("local", vfid(), name="kept")
    for folder in (made, kept):
        await vfolders.grant(folder.key, "user", BOB, Permission.RO)
    await vfolders.visible(user(BOB))
    for subject in (f"vfolder:{made.key}", f"vfolder:{kept.key}"):
        await database.write(
            lambda connection, subject=subject: (
                connection.execute(  # type: ignore[misc]
                    schema.usage.insert().values(subject=subject, bytes=1, files=1)
                ).rowcount
            )
        )
    await vfolders.forget(made.key)
    await vfolders.forget(made.key)
    with pytest.raises(VFolderNotFound):
        await vfolders.get(made.id)
    for table in (schema.vfolders, schema.grants, schema.shown_names, schema.usage):
        count = select(func.count()).select_from(table)
        assert await database.read(lambda connection, count=count: connection.execute(count).scalar()) == 1, table.name  # type: ignore[misc]
    await vfolders.forget(kept.key)
    again = await vfolders.create("local", made.id, name="data")
    assert again.key > kept.key


async def test_change_by_another_process_is_seen(tmp_path: Path, clock: Clock) -> None:
    """Another process' change counts after the time for which a generation may be believed, no later."""
    async with open_database(tmp_path / "x.db", clock) as here, open_database(tmp_path / "x.db") as there:
        mine, others = VFolders(here, clock), VFolders(there, clock)
        made = await mine.create("local", vfid(), name="data")
        assert await mine.access(user(BOB), await mine.get(made.id)) == NO_ACCESS
        await others.grant(made.key, "user", BOB, Permission.RW)
        await others.update(made.key, name="new")
        clock.advance(FRESH)
        assert (await mine.get(made.id)).name == "new"
        assert await mine.access(user(BOB), made) == Access(Permission.RW)
        assert await names(mine, user(BOB)) == ["new"]


# --- rights ---


async def test_grant_opens_and_revoking_closes(vfolders: VFolders) -> None:
    """Sharing takes effect with the next request, and so does its end."""
    made = await vfolders.create("local", vfid(), name="data")
    grant = await vfolders.grant(made.key, "user", BOB, Permission.RO)
    assert await vfolders.access(user(BOB), made) == Access(Permission.RO)
    assert list(await vfolders.grants(made.key)) == [grant]
    await vfolders.revoke(grant.id)
    assert await vfolders.access(user(BOB), made) == NO_ACCESS
    assert await names(vfolders, user(BOB)) == []
    with pytest.raises(UnknownAccount):
        await vfolders.revoke(grant.id)


async def test_second_grant_replaces_the_first(vfolders: VFolders) -> None:
    """To the same subject there is one grant, the latest; users and groups are different subjects."""
    made = await vfolders.create("local", vfid())
    first = await vfolders.grant(made.key, "group", TEAM, Permission.RWD, expires=9e9)
    second = await vfolders.grant(made.key, "group", TEAM, Permission.RO)
    await vfolders.grant(made.key, "user", TEAM, Permission.RW)
    assert (second.id, second.permission, second.expires) == (first.id, Permission.RO, None)
    assert len(await vfolders.grants(made.key)) == 2
    assert await vfolders.access(user(BOB, TEAM), made) == Access(Permission.RO)


async def test_grant_ends_by_itself(vfolders: VFolders, clock: Clock) -> None:
    """An expired grant opens nothing and shows nothing, without anybody changing anything."""
    made = await vfolders.create("local", vfid(), name="data")
    await vfolders.grant(made.key, "user", BOB, Permission.RW, expires=clock.seconds() + 10)
    assert await names(vfolders, user(BOB)) == ["data"]
    clock.advance(10)
    assert await names(vfolders, user(BOB)) == []
    with pytest.raises(VFolderNotFound):
        await vfolders.named(user(BOB), "data")


async def test_grants_that_make_no_sense_are_refused(vfolders: VFolders) -> None:
    """Nothing is granted on nothing, to nothing, or to nobody's kind."""
    made = await vfolders.create("local", vfid())
    with pytest.raises(VFolderNotFound):
        await vfolders.grant(made.key + 1, "user", BOB, Permission.RO)
    with pytest.raises(InvalidArgument, match="permission"):
        await vfolders.grant(made.key, "user", BOB, Permission.NONE)
    with pytest.raises(InvalidArgument, match="subject_kind"):
        await vfolders.grant(made.key, "project", BOB, Permission.RO)  # type: ignore[arg-type]


# --- what people see ---


async def test_people_see_what_is_theirs(vfolders: VFolders) -> None:
    """One's own, those of one's groups and what was opened to either, with the rights that come with each; nothing else."""
    own = await vfolders.create("local", vfid(BOB), name="own")
    await vfolders.create("local", vfid(TEAM, ScopeKind.PROJECT), name="team")
    shared = await vfolders.create("local", vfid(ALICE), name="shared")
    await vfolders.create("local", vfid(ALICE), name="private")
    await vfolders.grant(shared.key, "group", TEAM, Permission.RO)
    assert [(entry.name, entry.access) for entry in await vfolders.visible(user(BOB, TEAM))] == [
        ("own", FULL_ACCESS),
        ("shared", Access(Permission.RO)),
        ("team", Access(Permission.RW)),
    ]
    assert await names(vfolders, user(BOB)) == ["own"]
    assert (await vfolders.named(user(BOB, TEAM), "own")).vfolder == own
    with pytest.raises(VFolderNotFound):
        await vfolders.named(user(BOB), "team")


async def test_administrator_may_enter_all_but_is_shown_its_own(vfolders: VFolders) -> None:
    """The top directory of an administrator is not that of the whole site."""
    made = await vfolders.create("local", vfid(ALICE), name="data")
    admin = user(BOB, administrator=True)
    assert await vfolders.access(admin, made) == FULL_ACCESS
    assert await names(vfolders, admin) == []
    await vfolders.grant(made.key, "user", BOB, Permission.RO)
    assert [entry.access for entry in await vfolders.visible(admin)] == [FULL_ACCESS]


async def test_orchestrator_sees_all_and_a_token_one(vfolders: VFolders) -> None:
    """Without an account there are no names to keep, but each is still unique."""
    first = await vfolders.create("local", vfid(ALICE), name="data")
    await vfolders.create("local", vfid(BOB), name="data")
    assert len(set(await names(vfolders, ORCHESTRATOR))) == 2
    token = Principal(PrincipalKind.TOKEN, "token", token=TokenScope("download", "local", first.id))
    assert [(entry.name, entry.access) for entry in await vfolders.visible(token)] == [("data", Access(Permission.RO))]
    assert list(await vfolders.visible(Principal(PrincipalKind.TOKEN, "token"))) == []


async def test_name_once_shown_stays(database: Database, vfolders: VFolders, clock: Clock) -> None:
    """A later vfolder of the same name gets its owner in brackets, and keeps them when the first one goes."""
    await account(database, schema.users, ALICE, "alice")
    shared = await vfolders.create("local", vfid(ALICE), name="data")
    await vfolders.grant(shared.key, "user", BOB, Permission.RO)
    assert await names(vfolders, user(BOB)) == ["data"]
    own = await vfolders.create("local", vfid(BOB), name="data")
    assert (await vfolders.named(user(BOB), "data")).vfolder == shared
    assert await names(vfolders, user(BOB)) == ["data", f"data [{own.id.folder.hex[:8]}]"]
    assert (await VFolders(database, clock).named(user(BOB), "data")).vfolder == shared
    assert await names(vfolders, user(ALICE)) == ["data"]


async def test_owner_is_named_in_brackets(database: Database, vfolders: VFolders, clock: Clock) -> None:
    """Users and groups that have an account are told by name; one's own vfolder comes first."""
    await account(database, schema.users, ALICE, "alice")
    await account(database, schema.groups, TEAM, "team")
    shared = await vfolders.create("local", vfid(ALICE), name="data")
    await vfolders.grant(shared.key, "user", BOB, Permission.RO)
    clock.advance(1)
    await vfolders.create("local", vfid(TEAM, ScopeKind.PROJECT), name="data")
    clock.advance(1)
    own = await vfolders.create("local", vfid(BOB), name="data")
    bob = user(BOB, TEAM)
    assert await names(vfolders, bob) == ["data", "data [alice]", "data [team]"]
    assert (await vfolders.named(bob, "data")).vfolder == own


async def test_renamed_vfolder_is_still_reached_by_its_old_name(vfolders: VFolders) -> None:
    """The listing tells the new name; a mount that holds the old one goes on, until the owner uses that for another vfolder."""
    made = await vfolders.create("local", vfid(), name="old")
    await names(vfolders, user(ALICE))
    await vfolders.update(made.key, name="new")
    assert await names(vfolders, user(ALICE)) == ["new"]
    assert (await vfolders.named(user(ALICE), "old")).vfolder.key == made.key
    second = await vfolders.create("local", vfid(), name="old")
    assert await names(vfolders, user(ALICE)) == ["new", "old"]
    assert (await vfolders.named(user(ALICE), "old")).vfolder.key == second.key


async def test_old_name_never_leads_to_somebody_else(vfolders: VFolders) -> None:
    """What a script knows as Alice's vfolder does not become Bob's because Alice renamed hers."""
    carol = user(UUID(int=0xD))
    first = await vfolders.create("local", vfid(ALICE), name="data")
    second = await vfolders.create("local", vfid(BOB), name="data")
    await vfolders.grant(first.key, "user", UUID(int=0xD), Permission.RW)
    assert await names(vfolders, carol) == ["data"]
    await vfolders.update(first.key, name="renamed")
    await vfolders.grant(second.key, "user", UUID(int=0xD), Permission.RW)
    assert len(await names(vfolders, carol)) == 2
    assert (await vfolders.named(carol, "data")).vfolder.key == first.key


async def test_nameless_vfolder_shows_its_digits(vfolders: VFolders) -> None:
    """What the orchestrator made without a name is reached by its digits, and still is when it got one."""
    made = await vfolders.create("local", vfid())
    digits = made.id.folder.hex
    assert await names(vfolders, user(ALICE)) == [digits]
    await vfolders.update(made.key, name="data")
    assert await names(vfolders, user(ALICE)) == ["data"]
    assert (await vfolders.named(user(ALICE), digits)).vfolder.key == made.key


async def test_vfolder_being_deleted_is_not_shown(vfolders: VFolders) -> None:
    """It is gone for people while its bytes are still being removed; one being cloned into is there already."""
    made = await vfolders.create("local", vfid(), name="data", status=VFolderStatus.CLONING)
    assert await names(vfolders, user(ALICE)) == ["data"]
    await vfolders.update(made.key, status=VFolderStatus.DELETING)
    assert await names(vfolders, user(ALICE)) == []


async def test_two_processes_give_the_same_names(tmp_path: Path, clock: Clock) -> None:
    """Whichever process shows a vfolder first, the other shows it under the same name."""
    async with open_database(tmp_path / "x.db") as here, open_database(tmp_path / "x.db") as there:
        one, other = VFolders(here, clock), VFolders(there, clock)
        for _ in range(3):
            folder = await one.create("local", vfid(uuid4()), name="data")
            await one.grant(folder.key, "user", BOB, Permission.RO)
        seen = [(entry.name, entry.vfolder.key) for entry in await one.visible(user(BOB))]
        assert [(entry.name, entry.vfolder.key) for entry in await other.visible(user(BOB))] == seen


# --- what administrators type ---


async def test_administrator_names_a_vfolder(database: Database, vfolders: VFolders) -> None:
    """By owner and name, by name alone, by identifier, by digits; the owner as account or UUID."""
    await account(database, schema.users, ALICE, "alice")
    await account(database, schema.groups, TEAM, "team")
    mine = await vfolders.create("local", vfid(ALICE), name="data")
    ours = await vfolders.create("local", vfid(TEAM, ScopeKind.PROJECT), name="results")
    nameless = await vfolders.create("local", vfid(TEAM, ScopeKind.PROJECT))
    digits = nameless.id.folder.hex
    for text, found in {
        "alice/data": mine,
        "data": mine,
        f"{ALICE}/data": mine,
        str(mine.id): mine,
        mine.id.folder.hex: mine,
        str(mine.id.folder): mine,
        "team/results": ours,
        f"team/{digits}": nameless,
        digits: nameless,
    }.items():
        assert await vfolders.resolve(text) == found, text
    for text in ("alice/results", "bob/data", "nothing", str(vfid()), uuid4().hex, "", "/", "a/b/c"):
        with pytest.raises(VFolderNotFound):
            await vfolders.resolve(text)


async def test_ambiguous_name_is_answered_with_the_candidates(database: Database, vfolders: VFolders) -> None:
    """The administrator is told what to type instead."""
    await account(database, schema.users, ALICE, "alice")
    await account(database, schema.users, BOB, "bob")
    await vfolders.create("local", vfid(ALICE), name="data")
    await vfolders.create("local", vfid(BOB), name="data")
    with pytest.raises(Conflict, match="data may be any of: alice/data, bob/data"):
        await vfolders.resolve("data")


# --- quota scopes ---


async def test_scope_carries_limits(vfolders: VFolders) -> None:
    """A scope of a volume is entered once; setting limits enters it too."""
    scope, other = QuotaScopeId(ScopeKind.USER, ALICE), QuotaScopeId(ScopeKind.PROJECT, ALICE)
    assert await vfolders.scope_limits("local", scope) is None
    await vfolders.create_scope("local", scope, Limits(10))
    with pytest.raises(QuotaScopeExists):
        await vfolders.create_scope("local", scope, Limits(20))
    await vfolders.set_scope_limits("local", scope, Limits(None, 7))
    await vfolders.set_scope_limits("local", other, Limits())
    assert await vfolders.scope_limits("local", scope) == Limits(None, 7)
    assert list(await vfolders.scopes("local")) == [(other, Limits()), (scope, Limits(None, 7))]
    assert list(await vfolders.scopes("elsewhere")) == []
