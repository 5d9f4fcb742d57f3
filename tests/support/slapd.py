"""A real OpenLDAP server in a folder of its own, with people and groups; and servers that are none."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.support.process import eventually, free_port
from tests.support.tls import certificate

SUFFIX = "dc=example,dc=org"
ADMIN = (f"cn=admin,{SUFFIX}", "of the directory")
#: Who searches on behalf of the gateway.
READER = (f"cn=reader,{SUFFIX}", "may read all")
#: Everybody's password ends so.
PASSWORD = "correct horse battery staple"

_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
attributetype ( 1.3.6.1.4.1.24552.500.1.1.1.13 NAME 'sshPublicKey' EQUALITY octetStringMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )
objectclass ( 1.3.6.1.4.1.24552.500.1.1.2.0 NAME 'ldapPublicKey' SUP top AUXILIARY MAY sshPublicKey )
pidfile {folder}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload refint
TLSCACertificateFile {folder}/cert.pem
TLSCertificateFile {folder}/cert.pem
TLSCertificateKeyFile {folder}/key.pem
database mdb
maxsize 16777216
suffix "{suffix}"
rootdn "{admin[0]}"
rootpw "{admin[1]}"
directory {folder}/db
dbnosync
index objectClass,uid,cn,member,memberOf eq
overlay memberof
memberof-group-oc groupOfNames
overlay refint
refint_attributes memberof member
access to attrs=userPassword by anonymous auth by self write by * none
access to * by * read
"""

_TOP = f"""
dn: {SUFFIX}
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,{SUFFIX}
objectClass: organizationalUnit
ou: people

dn: ou=groups,{SUFFIX}
objectClass: organizationalUnit
ou: groups

dn: {READER[0]}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: {READER[1]}
"""


def person(name: str, number: int, rdn: str = "", **more: str) -> str:
    """An entry of a person. ``rdn``: its name as a DN has it, where that differs."""
    lines = [
        f"dn: uid={rdn or name},ou=people,{SUFFIX}",
        "objectClass: inetOrgPerson",
        "objectClass: posixAccount",
        "objectClass: ldapPublicKey",
        f"uid: {name}",
        f"cn: {name}",
        f"sn: {name}",
        f"mail: {number}@example.org",
        f"uidNumber: {number}",
        "gidNumber: 5000",
        f"homeDirectory: /home/{number}",
        f"userPassword: {number} {PASSWORD}",
        *(f"{key}: {value}" for key, value in more.items()),
    ]
    return "\n".join(lines) + "\n"


def password(number: int) -> str:
    """The password of a person."""
    return f"{number} {PASSWORD}"


def group(name: str, *members: str, kind: str = "groupOfNames") -> str:
    """An entry of a group. Members are DNs without the suffix; of a posixGroup, names."""
    by = {"groupOfNames": "member", "groupOfUniqueNames": "uniqueMember", "posixGroup": "memberUid"}[kind]
    lines = [f"dn: cn={name},ou=groups,{SUFFIX}", f"objectClass: {kind}", f"cn: {name}"]
    lines += [f"{by}: {member}" if by == "memberUid" else f"{by}: {member},{SUFFIX}" for member in members]
    return "\n".join(lines) + "\n"


ALICE, BOB = f"uid=alice,ou=people,{SUFFIX}", f"uid=bob,ou=people,{SUFFIX}"

#: Alice is in staff and hpc, by way of staff in everybody, and in a circle; the group of her number is her primary one.
SEED = "\n".join(
    [
        _TOP,
        person("alice", 1001),
        person("bob", 1002),
        person("carol", 1003),
        person("o, h=ara+x", 1004, rdn=r"o\2c h\3dara\2bx"),
        group("staff", "uid=alice,ou=people", "uid=carol,ou=people"),
        group("everybody", "cn=staff,ou=groups", "uid=bob,ou=people"),
        group("left", "cn=right,ou=groups", "uid=alice,ou=people"),
        group("right", "cn=left,ou=groups"),
        group("unique", "uid=alice,ou=people", kind="groupOfUniqueNames"),
        group("hpc", "alice", kind="posixGroup") + "gidNumber: 6000\n",
        group("primary", kind="posixGroup") + "gidNumber: 5000\n",
    ]
)


class Slapd:
    """One server. Ends with the ``with`` block.

    :ivar misnamed_url: by a name that its certificate is not for
    :param origin: another one, whose entries this one has, identifiers and all; they no longer follow each other
    """

    def __init__(self, folder: Path, seed: str = SEED, origin: Slapd | None = None) -> None:
        self.folder = folder
        (folder / "db").mkdir(parents=True)
        self.port, self.tls_port = free_port(), free_port()
        self.url, self.tls_url = f"ldap://127.0.0.1:{self.port}", f"ldaps://127.0.0.1:{self.tls_port}"
        self.misnamed_url = f"ldaps://127.0.0.2:{self.tls_port}"
        self.ca_file = folder / "cert.pem"
        self.ca_file.write_bytes(certificate().dumpPEM())
        (folder / "key.pem").write_bytes(certificate().privateKey.dump(1))
        text = _CONFIG.format(folder=folder, suffix=SUFFIX, admin=ADMIN, reader=READER)
        (folder / "slapd.conf").write_text(text)
        self._seed = seed
        self._origin = origin
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def _config(self) -> str:
        return str(self.folder / "slapd.conf")

    def start(self) -> None:
        """Start, and wait until it answers."""
        new = not any((self.folder / "db").iterdir())
        if new and self._origin is not None:
            entries = _run(["slapcat", "-f", self._origin._config])
            _run(["slapadd", "-f", self._config], entries)
        command = [
            _found("slapd"),
            "-d",
            "0",
            "-f",
            self._config,
            "-h",
            f"{self.url} {self.tls_url} {self.misnamed_url}",
        ]
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        eventually(lambda: _listens(self.port), "slapd listens")
        if new and self._origin is None:
            self.add(self._seed)

    def kill(self) -> None:
        """As a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    # --- changes ---

    def _as_admin(self, tool: str) -> list[str]:
        return [_found(tool), "-x", "-H", self.url, "-D", ADMIN[0], "-w", ADMIN[1]]

    def add(self, ldif: str) -> None:
        """Take in entries."""
        _run(self._as_admin("ldapadd"), ldif)

    def modify(self, dn: str, *changes: str) -> None:
        """Change one entry, as LDIF has it."""
        _run(self._as_admin("ldapmodify"), "\n".join([f"dn: {dn}", "changetype: modify", *changes, ""]))

    def delete(self, dn: str) -> None:
        """Remove one entry."""
        _run([*self._as_admin("ldapdelete"), dn])


def _found(tool: str) -> str:
    path = shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin:/usr/local/sbin")
    assert path is not None, f"{tool} is missing: make test installs what tests/debian-packages.txt lists"
    return path


def _run(command: Sequence[str], text: str = "") -> str:
    done = subprocess.run([_found(command[0]), *command[1:]], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Mute:
    """Accepts connections and says nothing; or, given something to say, says that one byte after the other, without an end.

    :ivar accepted: connections so far
    """

    def __init__(self, saying: bytes = b"") -> None:
        self.accepted = 0
        self._saying = saying
        self._over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"ldap://127.0.0.1:{self.port}"
        self.tls_url = f"ldaps://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._hold, args=(connection,), daemon=True).start()

    def _hold(self, connection: socket.socket) -> None:
        with connection:
            while not self._over.wait(0.05):
                try:
                    connection.sendall(self._saying)
                except OSError:
                    return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._socket.close()
