"""What may be mounted, and with which options: ``mount`` runs as root, and what is asked for may come from a store that many can write to.

Secrets are taken out of the options: command lines can be read by everybody on a machine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import attrs

from vfgateway.mounting.errors import Refused

#: Forced upon every mount: nothing in it may lend privileges.
ALWAYS: Final = ("nosuid", "nodev")
#: Options that lend privileges, mount something else than what is named, run or create something, or read files of the machine's own.
_DANGEROUS: Final = re.compile(
    r"(suid|dev|defaults|remount|r?bind|move|r?shared|r?slave|r?private|r?unbindable|loop|offset|sizelimit|users?|owner|group|"
    r"helper|context|fscontext|defcontext|rootcontext|cred|credentials|secretfile|backupuid|backupgid|x-.*|comment)",
    re.IGNORECASE,
)
_SECRETS: Final = {
    "cifs": ("username", "user", "password", "pass", "domain", "dom", "workgroup"),
    "smb3": ("username", "user", "password", "pass", "domain", "dom", "workgroup"),
    "ceph": ("secret",),
}
_LOOKS_SECRET: Final = re.compile(r"pass|secret|key$|token", re.IGNORECASE)
_TYPE: Final = re.compile(r"[a-z][a-z0-9_]{1,31}")
_SOURCES: Final = {
    "cifs": re.compile(r"//[^/,\s]+/[^,\s].*"),
    "smb3": re.compile(r"//[^/,\s]+/[^,\s].*"),
    "nfs": re.compile(r"[^/\s,-][^/\s,]*:/.*"),
    "nfs4": re.compile(r"[^/\s,-][^/\s,]*:/.*"),
}


@attrs.frozen
class Options:
    """Checked options.

    :ivar plain: those for the command line
    :ivar secrets: names and values that go into a file; names as ``mount.cifs`` and ``mount.ceph`` know them
    """

    plain: tuple[str, ...]
    secrets: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)


def check(fstype: str, source: str, options: str, allowed: Sequence[str]) -> Options:
    """What is to be mounted and how. ``Refused``.

    :param allowed: types of file systems that the administrator of this host admits
    """
    if not _TYPE.fullmatch(fstype) or fstype.startswith("fuse") or fstype not in allowed:
        raise Refused(f"file systems of type {fstype!r} are not mounted here; admitted are {', '.join(allowed)}")
    for text in (source, options):
        if not text.isprintable():
            raise Refused("a source or an option with characters that cannot be printed")
    if not source or source.startswith("-") or not _SOURCES.get(fstype, re.compile(".+")).fullmatch(source):
        raise Refused(f"{source!r} is no source of type {fstype}")
    plain, secrets = [], []
    for option in filter(None, (each.strip() for each in options.split(","))):
        name, _, value = option.partition("=")
        if name in _SECRETS.get(fstype, ()) and value:
            secrets.append((name, value))
        elif _DANGEROUS.fullmatch(name):
            raise Refused(f"the option {name!r} is not used here")
        elif _LOOKS_SECRET.search(name):
            raise Refused(f"the option {name!r} would show a secret to everybody on this host")
        else:
            plain.append(option)
    return Options((*plain, *ALWAYS), tuple(secrets))
