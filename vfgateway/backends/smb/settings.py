"""``[volumes.NAME]`` with ``backend = "smb"``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from vfgateway.backends.smb.names import SmbNames
from vfgateway.section import Seconds, Secret, Section


def _mode(text: Any) -> int:
    if not isinstance(text, str) or not re.fullmatch("0?[0-7]{3}", text):
        raise ValueError('expected a string of three octal digits, such as "0640"')
    return int(text, 8)


type_mode = Annotated[int, BeforeValidator(_mode)]


class LoginSettings(Section):
    """``[volumes.NAME.users.ACCOUNT]``: whom to be on the server.

    :ivar username: may have the domain in front, as in ``CORP\\alice``
    :ivar password: its first value counts; with ``password_file`` it is read again for each new connection
    """

    username: str = Field(min_length=1)
    password: Secret


class SmbSettings(LoginSettings):
    """A share of an SMB server; its ``username`` is the service account, for whoever has no login of his own.

    :ivar server: name or address
    :ivar port: where it listens
    :ivar share: name of the share
    :ivar path: a directory in it, with slashes; empty is the share itself
    :ivar driver: ``smbprotocol`` (SMB 2.0.2 to 3.1.1, signed and encrypted), or ``pysmb`` (SMB 2.0.2, signed)
    :ivar encrypt: refuse servers that do not encrypt
    :ivar users: logins of people on the server, by the names of their accounts here
    :ivar others: as whom people act who have no login among ``users``: as the ``service`` account, or not at all (``refuse``)
    :ivar connections: to the server, for each login
    :ivar timeout: seconds for each answer
    :ivar file_mode: permission bits that all files are shown with
    :ivar dir_mode: the same of directories
    :ivar durability: ``sync`` acknowledges when the server says that its disk has it, ``none`` when the server has it
    :ivar shared: whether others than the gateway change what is in the share
    :ivar adoptable: directories of the share, with slashes, at or below which directories can be made vfolders where they lie
    """

    server: str = Field(min_length=1)
    port: int = Field(default=445, ge=1, le=65535)
    share: str = Field(min_length=1, pattern=r"^[^\\/]+$")
    path: str = ""
    driver: Literal["smbprotocol", "pysmb"] = "smbprotocol"
    encrypt: bool = True
    users: dict[str, LoginSettings] = Field(default_factory=dict)
    others: Literal["service", "refuse"] = "service"
    connections: int = Field(default=4, ge=1, le=64)
    timeout: Seconds = 10.0
    file_mode: type_mode = 0o640
    dir_mode: type_mode = 0o750
    durability: Literal["sync", "none"] = "sync"
    shared: bool = True
    adoptable: tuple[str, ...] = ()

    @field_validator("adoptable")
    @classmethod
    def _check_adoptable(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        checked = tuple(cls._check_path(path) for path in paths)
        if "" in checked:
            raise ValueError("name directories of the share")
        return checked

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        names = SmbNames()
        parts = [part for part in path.split("/") if part]
        wrong = [part for part in parts if names.objection(part)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} cannot be a directory of a share: {names.objection(wrong[0])}")
        return "\\".join(parts)

    @model_validator(mode="after")
    def _check_driver(self) -> Self:
        if self.driver == "pysmb" and self.encrypt:
            raise ValueError('the driver "pysmb" cannot encrypt; say encrypt = false, or use "smbprotocol"')
        return self
