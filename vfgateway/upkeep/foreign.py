"""Accounts as other programs keep them, read into our own form: SFTPGo's dump, htpasswd and authorized_keys files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from vfgateway.errors import InvalidArgument
from vfgateway.services import publickeys
from vfgateway.upkeep.accounts_file import AccountsFile, GroupEntry, MemberEntry, PublicKey, UserEntry


@attrs.define
class Read:
    """What was read, and what has no place here, in words."""

    file: AccountsFile
    notes: list[str]


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidArgument("file", "is not text in UTF-8") from None


def _lines(data: bytes) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(_text(data).splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()


def htpasswd(data: bytes, user: str | None) -> Read:
    """``name:hash`` in each line, as Apache's ``htpasswd`` writes them. Which hashes are any good, the import says."""
    found: dict[str, UserEntry] = {}
    for number, line in _lines(data):
        name, colon, stored = line.partition(":")
        if not colon or not name:
            raise InvalidArgument(f"line {number}", "expected NAME:HASH")
        found[name] = UserEntry(name=name, password=stored.partition(":")[0])
    return Read(AccountsFile(users=tuple(found.values())), [])


def authorized_keys(data: bytes, user: str | None) -> Read:
    """Public keys of one user, a line each. Lines that cannot be used are noted and left out: others must not be lost for them."""
    if user is None:
        raise InvalidArgument("user", "whose keys are they? Say --user NAME")
    keys, notes = [], []
    for number, line in _lines(data):
        try:
            parsed = publickeys.parse(line)
        except InvalidArgument as error:
            notes.append(f"line {number} is left out: {error}")
            continue
        keys.append(PublicKey(line=parsed.data, label=parsed.comment, expires=parsed.expires))
    return Read(AccountsFile(users=(UserEntry(name=user, keys=tuple(keys)),)), notes)


# --- SFTPGo ---


def sftpgo(data: bytes, user: str | None) -> Read:
    """The JSON of SFTPGo's ``dumpdata`` (its OpenAPI document: ``BackupData``). Users, their groups, keys, password hashes and limits of size are
    taken over; where their files lie is noted, for ``vfgateway vfolder adopt``."""
    try:
        dump = json.loads(_text(data))
        if not isinstance(dump, dict) or not isinstance(dump.get("users"), list):
            raise ValueError
    except ValueError:
        raise InvalidArgument("file", "is not the dump of an SFTPGo: there is no list of users") from None
    notes: list[str] = []
    inside: dict[str, list[MemberEntry]] = {str(each.get("name", "")): [] for each in _maps(dump, "groups")}
    users = []
    for each in _maps(dump, "users"):
        entry = _sftpgo_user(each, notes)
        users.append(entry)
        for group in _maps(each, "groups"):
            inside.setdefault(str(group.get("name", "")), []).append(MemberEntry(user=entry.name))
    for kind in ("admins", "api_keys", "shares"):
        if count := len(list(_maps(dump, kind))):
            notes.append(f"{count} {kind.replace('_', ' ')} have no counterpart and are left out")
    groups = tuple(GroupEntry(name=name, members=tuple(some)) for name, some in inside.items() if name)
    return Read(AccountsFile(users=tuple(users), groups=groups), notes)


def _maps(table: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    yield from (each for each in table.get(key) or () if isinstance(each, dict))


def _sftpgo_user(each: Mapping[str, Any], notes: list[str]) -> UserEntry:
    name = str(each.get("username") or "")
    keys = []
    for line in each.get("public_keys") or ():
        try:
            parsed = publickeys.parse(str(line))
        except InvalidArgument as error:
            notes.append(f"{name}: a public key is left out: {error}")
            continue
        keys.append(PublicKey(line=parsed.data, label=parsed.comment, expires=parsed.expires))
    if home := str(each.get("home_dir") or ""):
        notes.append(
            f"{name}: files lie in {home}: vfgateway vfolder adopt {name}/home {home} --volume VOLUME --writable"
        )
    for folder in _maps(each, "virtual_folders"):
        place = str(folder.get("mapped_path") or folder.get("name") or "")
        notes.append(f"{name}: sees {place} as {folder.get('virtual_path')}: adopt it once, and grant it")
    if (each.get("filesystem") or {}).get("provider"):
        notes.append(f"{name}: files lie on storage of another kind: configure a volume for it")
    totp = ((each.get("filters") or {}).get("totp_config") or {}).get("enabled")
    if totp:
        notes.append(f"{name}: its second factor is not taken over: vfgateway second-factor begin {name}")
    return UserEntry(
        name=name,
        email=str(each["email"]) if each.get("email") else None,
        active=each.get("status", 1) == 1,
        uid=_number(each, "uid"),
        gid=_number(each, "gid"),
        limit_bytes=_number(each, "quota_size"),
        limit_files=_number(each, "quota_files"),
        expires=(_number(each, "expiration_date") or 0) / 1000 or None,
        password=str(each["password"]) if each.get("password") else None,
        keys=tuple(keys),
    )


def _number(each: Mapping[str, Any], key: str) -> int | None:
    """A number above zero; SFTPGo writes 0 for none."""
    value = each.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


#: The forms by what ``--from`` calls them.
READERS: Mapping[str, Callable[[bytes, str | None], Read]] = {
    "sftpgo": sftpgo,
    "htpasswd": htpasswd,
    "authorized-keys": authorized_keys,
}
