"""Volumes mounted for as long as somebody uses them. Blocking calls; several processes may make them at once, and each may die at any moment.

What is noted comes before what is done: a user before the mount, its end before the unmount. So whoever comes later sees what is left to do.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from vfgateway import secretfile
from vfgateway.errors import ConfigurationError
from vfgateway.mountinfo import mounted_at
from vfgateway.mounting import kernel, options
from vfgateway.mounting.errors import MountError, MountFailed, Refused, UnknownMount
from vfgateway.mounting.settings import MountedVolume, MountingSettings, MountSettings
from vfgateway.mounting.users import Users


@attrs.frozen
class State:
    """How one volume is.

    :ivar at: ``startup`` or ``requested``; empty for one that is not configured any more
    """

    name: str
    path: Path
    at: str
    mounted: bool
    users: Sequence[str]


class Mounts:
    """See the module.

    :param volumes: those of the file, and those of etcd
    """

    def __init__(self, settings: MountingSettings, volumes: Sequence[MountedVolume]) -> None:
        self._settings = settings
        self._volumes: dict[str, MountedVolume] = {}
        for volume in volumes:
            self._volumes.setdefault(volume.name, volume)

    def _users(self, name: str) -> Users:
        return Users(self._settings.state / name)

    def _place(self, name: str) -> Path:
        return Path(self._settings.root) / name

    def _volume(self, name: str) -> MountedVolume:
        try:
            return self._volumes[name]
        except KeyError:
            raise UnknownMount(f"no volume is called {name!r}") from None

    def take(self, name: str, user: str) -> Path:
        """Note that ``user`` uses a volume, mount it if nobody has, and say where it is. Idempotent. Raises ``MountError``; then nothing is
        noted that was not before."""
        volume, users = self._volume(name), self._users(name)
        with users.locked():
            new = users.add(user)
            try:
                self._ensure(volume)
            except BaseException:
                if new:
                    users.remove(user)
                raise
        return self._place(name)

    def give_back(self, name: str, user: str) -> bool:
        """Note that ``user`` has done with it; the last one's end unmounts what is mounted on request. Idempotent. Whether it is mounted no more.
        ``MountFailed`` if something still holds it: the supervisor tries again."""
        if name not in self._volumes and name not in self._known():
            raise UnknownMount(f"no volume is called {name!r}")
        users = self._users(name)
        with users.locked():
            users.remove(user)
            self._settle(name, users)
            return mounted_at(str(self._place(name))) is None

    def reconcile(self) -> Sequence[tuple[str, str]]:
        """Do what is left to do, for all; what went wrong: a volume and a sentence each. The others do not suffer from it."""
        wrong = []
        for name in sorted({*self._volumes, *self._known()}):
            users = self._users(name)
            try:
                with users.locked():
                    self._settle(name, users)
            except MountError as error:
                wrong.append((name, str(error)))
        return wrong

    def states(self) -> Sequence[State]:
        """All that are configured, or were and are still known."""
        return [
            State(
                name,
                self._place(name),
                self._volumes[name].mount.at if name in self._volumes else "",
                mounted_at(str(self._place(name))) is not None,
                self._users(name).all(),
            )
            for name in sorted({*self._volumes, *self._known()})
        ]

    def _known(self) -> Sequence[str]:
        with suppress(FileNotFoundError, NotADirectoryError):
            return [entry.name for entry in Path(self._settings.state).iterdir() if (entry / "users").is_dir()]
        return []

    def _settle(self, name: str, users: Users) -> None:
        """Mount what is to be mounted, unmount what nobody needs. The lock is held."""
        volume = self._volumes.get(name)
        if volume is not None and (volume.mount.at == "startup" or users.all()):
            self._ensure(volume)
        elif not users.all() and mounted_at(str(self._place(name))) is not None:
            kernel.unmount(self._place(name), self._settings.timeout)

    def _ensure(self, volume: MountedVolume) -> None:
        place, wanted = self._place(volume.name), volume.mount
        found = mounted_at(str(place))
        if found is not None:
            if found.source != wanted.path:
                raise Refused(f"{place} has something else mounted on it: {found.source}")
            return
        checked = options.check(wanted.fstype, wanted.path, wanted.options, self._settings.fstypes)
        _make_place(place)
        with self._secret_option(volume.name, wanted, checked) as secret:
            kernel.mount(wanted.fstype, wanted.path, place, (*checked.plain, *secret), self._settings.timeout)
        if mounted_at(str(place)) is None:
            raise MountFailed(f"mount says that it has done it, and nothing is mounted on {place}")

    @contextmanager
    def _secret_option(self, name: str, wanted: MountSettings, checked: options.Options) -> Iterator[Sequence[str]]:
        """The option that names a file with the secrets, if there are any."""
        option = {"cifs": "credentials", "smb3": "credentials", "ceph": "secretfile"}.get(wanted.fstype)
        if wanted.credentials_file is not None:
            if option is None:
                raise Refused(f"file systems of type {wanted.fstype} take no credentials_file")
            try:
                secretfile.load(wanted.credentials_file)
            except ConfigurationError as error:
                raise MountError(str(error)) from None
            if checked.secrets:
                raise Refused("credentials both in the options and in a file")
            yield [f"{option}={wanted.credentials_file}"]
        elif checked.secrets:
            lines = [f"{key}={value}" for key, value in checked.secrets]
            content = checked.secrets[0][1] if option == "secretfile" else "\n".join(lines)
            with self._users(name).credentials(content + "\n") as file:
                yield [f"{option}={file}"]
        else:
            yield []


def _make_place(place: Path) -> None:
    """A directory to mount on: no link, which would lead the mount elsewhere."""
    try:
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        place.mkdir(mode=0o755, exist_ok=True)
        if not stat.S_ISDIR(place.lstat().st_mode):
            raise Refused(f"{place} is not a directory")
    except FileExistsError:
        raise Refused(f"{place} is not a directory") from None
    except OSError as error:
        raise MountError(f"cannot make {place}: {error.strerror}") from None
