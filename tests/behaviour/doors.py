"""The ways by which people come to their files, each a client of the real wire, all with the same verbs."""

from __future__ import annotations

import abc
import base64
import calendar
import contextlib
import http.client
import socket
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

import attrs
import paramiko
import requests
from lxml import etree

from tests.support.dav_site import DavSite
from tests.support.process import ALICE, PATIENCE, VFolderOfAlice
from tests.support.sftp import SftpSite

#: Bytes that a client sends or asks for at once.
PIECE = 256 << 10
_DAV = "{DAV:}"
_LOCK = '<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>'


class EveryDoor(DavSite, SftpSite):
    """A site with all front ends for people."""

    def let_in(self, name: str, vfolder: VFolderOfAlice, permission: str) -> None:
        """An account with Alice's password, and a grant."""
        if not any(user["name"] == name for user in self.manager("GET", "/vfgateway/v1/users")["users"]):
            self.manager("POST", "/vfgateway/v1/users", {"name": name, "password": ALICE[1]})
        where = f"/vfgateway/v1/vfolders/{vfolder.vfid[-32:]}/grants"
        self.manager("POST", where, {"kind": "user", "subject": name, "permission": permission})

    def limit(self, vfolder: VFolderOfAlice, **limits: int) -> None:
        """Set the limits of a vfolder."""
        self.manager("PATCH", f"/vfgateway/v1/vfolders/{vfolder.vfid[-32:]}", limits)


@attrs.frozen
class Facts:
    """What a listing says of an entry; ``size`` of a directory does not matter."""

    size: int
    mtime: int
    is_dir: bool


class Refused(Exception):
    """The gateway refused.

    :ivar why: ``permission``, ``quota``, ``locked``, ``missing``, or ``other``
    :ivar text: what the user is told
    """

    def __init__(self, why: str, text: str) -> None:
        self.why = why
        self.text = text
        super().__init__(f"{why}: {text}")


class Sending(abc.ABC):
    """A file on its way, in pieces. Exactly one of :meth:`finish` and :meth:`cut` ends it."""

    @abc.abstractmethod
    def send(self, data: bytes) -> None:
        """The next bytes; they have left when this returns."""

    @abc.abstractmethod
    def finish(self) -> None:
        """All is sent. ``Refused``."""

    @abc.abstractmethod
    def cut(self) -> None:
        """The connection breaks."""


class Door(abc.ABC):
    """One user's client in one vfolder.

    :cvar grows: what is being written is seen as it grows, as POSIX has it; otherwise not before it is whole
    :cvar keeps: what was cut stays under its name, as clients want it that go on from there
    :cvar makes_dirs: there is a request that makes or removes a directory
    :cvar renames: there is one that renames
    :cvar sets_times: there is one that sets the time of a file
    """

    name: str
    grows = False
    keeps = False
    makes_dirs = True
    renames = True
    sets_times = True

    def __init__(
        self, site: EveryDoor, vfolder: VFolderOfAlice, user: str = ALICE[0], password: str = ALICE[1]
    ) -> None:
        self.site = site
        self.vfolder = vfolder
        self.user = user
        self.password = password

    @property
    def login(self) -> tuple[str, str]:
        """Name and password."""
        return self.user, self.password

    def of(self, user: str) -> Self:
        """The same door for somebody else."""
        return type(self)(self.site, self.vfolder, user)

    def put(self, path: str, content: bytes) -> None:
        """Create or replace a file."""
        sending = self.begin(path, len(content))
        for at in range(0, len(content), PIECE):
            sending.send(content[at : at + PIECE])
        sending.finish()

    @abc.abstractmethod
    def begin(self, path: str, size: int) -> Sending:
        """Begin to send a file of ``size`` bytes."""

    @abc.abstractmethod
    def get(self, path: str) -> bytes:
        """A file's content."""

    @abc.abstractmethod
    def list(self, path: str = "") -> Mapping[str, Facts]:
        """A directory's entries."""

    @abc.abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file or an empty directory."""

    def make_dir(self, path: str) -> None:
        """Make a directory."""
        raise NotImplementedError

    def rename(self, source: str, target: str, replace: bool = False) -> None:
        """Rename."""
        raise NotImplementedError

    def set_time(self, path: str, mtime: int) -> None:
        """Set the time of the last change."""
        raise NotImplementedError

    @abc.abstractmethod
    def folders(self) -> Iterable[str]:
        """Names of the vfolders that the user sees."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- HTTP -----------------------------------------------------------------------------------------------

_WHY = {401: "permission", 403: "permission", 404: "missing", 413: "quota", 423: "locked", 507: "quota"}


class _Body(Sending):
    """The body of one request, on a connection of its own."""

    def __init__(self, method: str, url: str, size: int, login: tuple[str, str], headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
        self._connection.putrequest(method, parts.path, skip_accept_encoding=True)
        basic = base64.b64encode(":".join(login).encode()).decode()
        for name, value in {"Authorization": f"Basic {basic}", "Content-Length": str(size), **headers}.items():
            self._connection.putheader(name, value)
        self._connection.endheaders()

    def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # refused before all was sent: the answer says why
            self._connection.send(data)

    def finish(self) -> None:
        with contextlib.closing(self._connection):
            answer = self._connection.getresponse()
            _check(answer.status, answer.read().decode())

    def cut(self) -> None:
        sock = self._connection.sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._connection.close()


def _check(status: int, text: str) -> None:
    if status >= 400:
        raise Refused(_WHY.get(status, "other"), text)


class _WebDoor(Door):
    """What doors of HTTP have in common."""

    def __init__(
        self, site: EveryDoor, vfolder: VFolderOfAlice, user: str = ALICE[0], password: str = ALICE[1]
    ) -> None:
        super().__init__(site, vfolder, user, password)
        self.http = requests.Session()
        self.http.trust_env = False

    @abc.abstractmethod
    def url(self, path: str) -> str:
        """Where a file is."""

    def ask(self, method: str, url: str, body: Any = None, **headers: str) -> requests.Response:
        """One request. ``Refused``."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.http.request(method, url, data=body, headers=fields, auth=self.login, timeout=PATIENCE)
        _check(answer.status_code, answer.text if answer.status_code >= 400 else "")
        return answer

    def begin(self, path: str, size: int) -> Sending:
        return _Body("PUT", self.url(path), size, self.login, {})

    def get(self, path: str) -> bytes:
        return self.ask("GET", self.url(path)).content

    def remove(self, path: str) -> None:
        self.ask("DELETE", self.url(path))

    def close(self) -> None:
        self.http.close()


class HttpDoor(_WebDoor):
    """The content API of the client front end."""

    name = "http"
    makes_dirs = renames = sets_times = False

    def url(self, path: str) -> str:
        return f"{self.site.client_url}/vfgateway/v1/files/{quote(self.vfolder.name)}/{quote(path)}"

    def list(self, path: str = "") -> Mapping[str, Facts]:
        found: dict[str, Facts] = {}
        url: str | None = self.url(path)
        while url is not None:
            page = self.ask("GET", url).json()
            for entry in page["entries"]:
                found[entry["name"]] = Facts(entry["size"], int(entry["modified"]), entry["type"] == "DIRECTORY")
            url = page["next"]
        return found

    def folders(self) -> Iterable[str]:
        listed = self.ask("GET", f"{self.site.client_url}/vfgateway/v1/vfolders").json()["vfolders"]
        return [vfolder["name"] for vfolder in listed]


class TusDoor(HttpDoor):
    """Uploads by tus, all else as the content API has it."""

    name = "tus"

    def begin_at(self, path: str, size: int) -> str:
        """Announce an upload; its URL."""
        facts = {"vfolder": self.vfolder.name, "path": path}
        metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in facts.items())
        head = {"Tus-Resumable": "1.0.0", "Upload-Length": str(size), "Upload-Metadata": metadata}
        return self.ask("POST", f"{self.site.client_url}/vfgateway/v1/uploads", **head).headers["Location"]

    def begin(self, path: str, size: int) -> Sending:
        return _Body("PATCH", self.begin_at(path, size), size, self.login, _patch(0))

    def patch(self, url: str, offset: int, content: bytes) -> None:
        """Send a part. ``Refused``."""
        self.ask("PATCH", url, content, **_patch(offset))


def _patch(offset: int) -> dict[str, str]:
    return {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
    }


class DavDoor(_WebDoor):
    """WebDAV."""

    name = "webdav"

    def url(self, path: str) -> str:
        return f"{self.site.dav_url}/{quote(self.vfolder.name)}/{quote(path)}"

    def list(self, path: str = "") -> Mapping[str, Facts]:
        url = self.url(path)
        found = {}
        for response in self._propfind(url, "1"):
            href = unquote(urlsplit(response.findtext(f"{_DAV}href") or "").path)
            name = href.rstrip("/").rpartition("/")[2]
            if href.rstrip("/") != unquote(urlsplit(url).path).rstrip("/"):
                found[name] = self._facts(response)
        return found

    def _propfind(self, url: str, depth: str) -> Iterator[Any]:
        return iter(etree.fromstring(self.ask("PROPFIND", url, Depth=depth).content).findall(f"{_DAV}response"))

    def _facts(self, response: Any) -> Facts:
        prop = response.find(f"{_DAV}propstat/{_DAV}prop")
        changed = time.strptime(prop.findtext(f"{_DAV}getlastmodified"), "%a, %d %b %Y %H:%M:%S GMT")
        is_dir = prop.find(f"{_DAV}resourcetype/{_DAV}collection") is not None
        return Facts(int(prop.findtext(f"{_DAV}getcontentlength") or 0), calendar.timegm(changed), is_dir)

    def make_dir(self, path: str) -> None:
        self.ask("MKCOL", self.url(path))

    def rename(self, source: str, target: str, replace: bool = False) -> None:
        self.ask("MOVE", self.url(source), Destination=self.url(target), Overwrite="T" if replace else "F")

    def set_time(self, path: str, mtime: int) -> None:
        when = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(mtime))
        update = f'<propertyupdate xmlns="DAV:"><set><prop><getlastmodified>{when}</getlastmodified></prop></set></propertyupdate>'
        answer = self.ask("PROPPATCH", self.url(path), update)
        assert "200 OK" in answer.text, answer.text

    def lock(self, path: str, seconds: int = 600) -> str:
        """Lock a file; the token."""
        answer = self.ask("LOCK", self.url(path), _LOCK, Timeout=f"Second-{seconds}")
        return answer.headers["Lock-Token"]

    def unlock(self, path: str, token: str) -> None:
        """End a lock."""
        self.ask("UNLOCK", self.url(path), Lock_Token=token)

    def folders(self) -> Iterable[str]:
        hrefs = [response.findtext(f"{_DAV}href") for response in self._propfind(f"{self.site.dav_url}/", "1")]
        return [unquote(href.strip("/")) for href in hrefs if href and href != "/"]


# --- SFTP -----------------------------------------------------------------------------------------------


class _Remote(Sending):
    """An open file on a connection of its own."""

    def __init__(self, door: SftpDoor, path: str, offset: int) -> None:
        self._client = door.connect()
        with _told():
            self._file = self._client.open_sftp().open(door.at(path), "r+" if offset else "w")
            self._file.seek(offset)

    def send(self, data: bytes) -> None:
        with _told():
            self._file.write(data)
            self._file.flush()

    def finish(self) -> None:
        with self._client, _told():
            self._file.close()

    def cut(self) -> None:
        transport = self._client.get_transport()
        assert transport is not None
        transport.sock.close()
        self._client.close()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What SFTP says in words, as the other doors say it by numbers."""
    try:
        yield
    except FileNotFoundError as error:
        raise Refused("missing", str(error)) from None
    except PermissionError as error:
        raise Refused("permission", str(error)) from None
    except OSError as error:
        text = str(error)
        why = "quota" if "quota of" in text else "locked" if "locked by" in text else "other"
        raise Refused(why, text) from None


class SftpDoor(Door):
    """SFTP, by paramiko."""

    name = "sftp"
    grows = keeps = True

    def __init__(
        self, site: EveryDoor, vfolder: VFolderOfAlice, user: str = ALICE[0], password: str = ALICE[1]
    ) -> None:
        super().__init__(site, vfolder, user, password)
        self._client = self.connect()
        self._sftp = self._client.open_sftp()

    def connect(self) -> paramiko.SSHClient:
        """A new connection."""
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        login = {"allow_agent": False, "look_for_keys": False, "timeout": PATIENCE}
        client.connect("127.0.0.1", self.site.sftp_port, *self.login, **login)
        return client

    def at(self, path: str) -> bytes:
        """Where a file is."""
        return f"/{self.vfolder.name}/{path}".encode("utf-8", "surrogateescape")

    def begin(self, path: str, size: int, offset: int = 0) -> Sending:
        return _Remote(self, path, offset)

    def get(self, path: str) -> bytes:
        with _told(), self._sftp.open(self.at(path)) as file:
            file.prefetch()
            content: bytes = file.read()
            return content

    def list(self, path: str = "") -> Mapping[str, Facts]:
        with _told():
            entries = self._sftp.listdir_attr(self.at(path))
        return {each.filename: Facts(each.st_size, each.st_mtime, stat.S_ISDIR(each.st_mode)) for each in entries}

    def remove(self, path: str) -> None:
        with _told():
            found = self._sftp.lstat(self.at(path))
            (self._sftp.rmdir if stat.S_ISDIR(found.st_mode or 0) else self._sftp.remove)(self.at(path))

    def make_dir(self, path: str) -> None:
        with _told():
            self._sftp.mkdir(self.at(path))

    def rename(self, source: str, target: str, replace: bool = False) -> None:
        with _told():
            (self._sftp.posix_rename if replace else self._sftp.rename)(self.at(source), self.at(target))

    def set_time(self, path: str, mtime: int) -> None:
        with _told():
            self._sftp.utime(self.at(path), (mtime, mtime))

    def folders(self) -> Iterable[str]:
        return list(self._sftp.listdir("/"))

    def close(self) -> None:
        self._client.close()


DOORS: tuple[type[Door], ...] = (HttpDoor, TusDoor, DavDoor, SftpDoor)
