"""The table ``[frontends.sftp]``."""

from __future__ import annotations

from pathlib import Path

import attrs
from pydantic import Field

from vfgateway.section import ConfigPath, Section


class SftpSettings(Section):
    """See the module.

    :ivar endpoint: a Twisted endpoint, or a list of them; ``haproxy:tcp:...`` speaks the PROXY protocol with ``trusted_proxies``
    :ivar host_keys: the folder of the host keys, made when missing; by default ``hostkeys`` in ``data_dir``. An ECDSA key is used if it lies
        there as ``ssh_host_ecdsa_key``
    :ivar trusted_user_ca_keys: lines of public keys; a certificate of theirs lets its principals in
    :ivar idle_timeout: seconds without a request after which a connection is ended; mounts want it long
    :ivar login_timeout: seconds in which a client has to log in
    :ivar keepalive_interval: seconds of silence after which a client is asked whether it is there; one that says nothing for three times as long
        is taken for gone
    :ivar max_connections: at once, as all that follow in each process
    :ivar max_unauthenticated: connections that have not logged in yet; beyond it, the address with the most of them loses its oldest
    :ivar max_connections_per_address: at once
    :ivar max_connections_per_user: at once
    :ivar max_attempts: wrong logins on one connection
    :ivar login_delay: seconds that the answer to a wrong login waits; doubled with each by the same name or from the same address
    :ivar banner: shown before the login
    """

    endpoint: str | tuple[str, ...] = "tcp:6024:interface=127.0.0.1"
    host_keys: ConfigPath | None = None
    trusted_user_ca_keys: tuple[str, ...] = ()
    idle_timeout: float = Field(default=3600.0, gt=0)
    login_timeout: float = Field(default=60.0, gt=0)
    keepalive_interval: float = Field(default=60.0, gt=0)
    max_connections: int = Field(default=1000, gt=0)
    max_unauthenticated: int = Field(default=100, gt=0)
    max_connections_per_address: int = Field(default=200, gt=0)
    max_connections_per_user: int = Field(default=100, gt=0)
    max_attempts: int = Field(default=6, gt=0)
    login_delay: float = Field(default=0.5, ge=0)
    banner: str = ""

    def limits(self) -> Limits:
        """What bounds connections."""
        return Limits(
            idle=self.idle_timeout,
            login=self.login_timeout,
            silence=self.keepalive_interval,
            connections=self.max_connections,
            unauthenticated=self.max_unauthenticated,
            per_address=self.max_connections_per_address,
            per_user=self.max_connections_per_user,
            attempts=self.max_attempts,
            delay=self.login_delay,
        )

    def keys_folder(self, data_dir: Path) -> Path:
        """Where the host keys lie."""
        return self.host_keys or data_dir / "hostkeys"


@attrs.define
class Limits:
    """Bounds of connections; times in seconds.

    :ivar rekey_bytes: after which new keys are asked for; AES wants them after 64 GiB at the latest (RFC 4344 section 3.2)
    :ivar silence: after which a client is asked whether it is there
    """

    idle: float = 3600.0
    login: float = 60.0
    connections: int = 1000
    unauthenticated: int = 100
    per_address: int = 200
    per_user: int = 100
    attempts: int = 6
    delay: float = 0.5
    rekey_bytes: int = 32 << 30
    silence: float = 60.0
