"""One connection to a server of a directory, by ldap3. Everything here blocks, and runs in the threads of a pool."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import attrs
import ldap3
from ldap3.core.exceptions import (
    LDAPBindError,
    LDAPCommunicationError,
    LDAPException,
    LDAPResponseTimeoutError,
    LDAPStartTLSError,
)

from vfgateway.authenticators.ldap.settings import LdapSettings

_SUCCESS, _SIZE_LIMIT, _NO_SUCH_OBJECT, _REFERRAL = 0, 4, 32, 10
#: A bind with one of these says that the name or password is wrong, or that the account may not log in (RFC 4511 appendix A).
_REFUSED = frozenset({16, 19, 32, 34, 48, 49, 50, 53})
#: The server has no time for anybody.
_BUSY = frozenset({51, 52})


class Unanswered(Exception):
    """No server of the directory gives an answer that can be used; says why, for the administrator."""


class Lost(Exception):
    """This server does not answer."""


@attrs.frozen
class Entry:
    """One entry: its DN, and the values of its attributes, by their names in small letters."""

    dn: str
    values: Mapping[str, Sequence[bytes]]

    def all(self, attribute: str) -> Sequence[bytes]:
        """The values of an attribute; none for an attribute without a name."""
        return self.values.get(attribute.lower(), ())

    def texts(self, attribute: str) -> list[str]:
        """Those values that are text."""
        return [value.decode("utf-8") for value in self.all(attribute) if _is_text(value)]

    def text(self, attribute: str) -> str | None:
        """The first value that is text."""
        return next(iter(self.texts(attribute)), None)


def _is_text(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class _Tls(ldap3.Tls):
    """TLS as the standard library does it, names of servers included: ldap3's own check knows no addresses on newer Pythons."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        super().__init__(validate=context.verify_mode)
        self._context = context
        self._host = host

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        """Called by ldap3 for ``ldaps`` and after StartTLS."""
        connection.socket = self._context.wrap_socket(connection.socket, server_hostname=self._host)


class Link:
    """One connection."""

    def __init__(self, url: str, settings: LdapSettings, context: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        server = ldap3.Server(
            url if parts.scheme == "ldapi" else f"{parts.scheme}://{parts.netloc}",
            use_ssl=parts.scheme == "ldaps",
            get_info=ldap3.NONE,
            connect_timeout=settings.timeout,
            mode=ldap3.IP_V4_PREFERRED,
            tls=_Tls(context, host) if context is not None else None,
            allowed_referral_hosts=[],
        )
        self._limit = max(1, round(settings.timeout))
        self._connection = ldap3.Connection(
            server,
            client_strategy=ldap3.SYNC,
            auto_referrals=False,
            check_names=False,
            read_only=True,
            receive_timeout=self._limit,
        )
        self._start_tls = settings.start_tls and parts.scheme == "ldap"
        self.idle_since = 0.0

    def open(self) -> None:
        """Connect, and begin TLS. ``Lost``."""
        with _told():
            self._connection.open(read_server_info=False)
            if self._start_tls and not self._connection.start_tls(read_server_info=False):
                raise Lost(f"StartTLS failed: {self._connection.last_error or 'no reason given'}")

    def bind(self, dn: str, password: bytes) -> bool:
        """Whether that is the password. An empty one would be no question at all (RFC 4513 section 5.1.2): it is never asked. ``Lost``,
        ``Unanswered``."""
        if not dn or not password:
            return False
        with _told():
            try:
                self._connection.rebind(dn, password, authentication=ldap3.SIMPLE, read_server_info=False)
            finally:
                self._connection.password = self._connection.request = None
        return _check("a bind", self._connection.result, _SUCCESS, *_REFUSED) == _SUCCESS

    def be_anonymous(self) -> None:
        """Ask as nobody. ``Lost``, ``Unanswered``."""
        self._connection.user = None
        with _told():
            self._connection.rebind(authentication=ldap3.ANONYMOUS, read_server_info=False)
        _check("an anonymous bind", self._connection.result, _SUCCESS)

    def search(
        self, base: str, filter: str, attributes: Sequence[str], *, most: int, here: bool = False
    ) -> list[Entry]:
        """Entries below ``base`` (``here``: that one alone), ``most`` of them at most. Referrals are not followed. ``Lost``,
        ``Unanswered``."""
        with _told():
            self._connection.search(
                base,
                filter,
                search_scope=ldap3.BASE if here else ldap3.SUBTREE,
                attributes=[name for name in attributes if name],
                size_limit=most,
                time_limit=self._limit,
            )
        what = f"a search below {base}"
        _check(what, self._connection.result, _SUCCESS, _SIZE_LIMIT, _NO_SUCH_OBJECT, _REFERRAL)
        return [
            Entry(found["dn"], {name.lower(): tuple(values) for name, values in found["raw_attributes"].items()})
            for found in self._connection.response or ()
            if found["type"] == "searchResEntry"
        ][:most]

    def cut(self) -> None:
        """Let whoever waits for an answer fail. Called from another thread."""
        waiting = self._connection.socket
        if waiting is not None:
            with suppress(OSError):  # it is not connected yet, or not any more
                socket.socket.shutdown(waiting, socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go."""
        try:
            self._connection.unbind()
        except (LDAPException, OSError):
            self._connection.strategy.close()


@contextmanager
def _told() -> Iterator[None]:
    """Turns what ldap3 raises into :class:`Lost` where it concerns the connection, else into :class:`Unanswered`."""
    try:
        yield
    except (LDAPCommunicationError, LDAPBindError, LDAPStartTLSError, LDAPResponseTimeoutError, OSError) as error:
        raise Lost(_sentence(error)) from error
    except LDAPException as error:
        raise Unanswered(f"{type(error).__name__}: {error}") from error
    except (
        Exception
    ) as error:  # what the library's decoder raises for bytes that are no LDAP, and for a socket that went
        raise Lost(f"it does not answer as a directory does ({type(error).__name__})") from error


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "CERTIFICATE_VERIFY_FAILED" in text:
        reason = text.partition("verify failed: ")[2].partition(" (_ssl")[0]
        return f"its certificate is not good ({reason or text}); if its authority is your own, name that in ca_file"
    if isinstance(error, LDAPResponseTimeoutError) or "timed out" in text or "temporarily unavailable" in text:
        return "no answer in time"
    return text or type(error).__name__


def _check(what: str, result: Mapping[str, Any], *good: int) -> int:
    """The code of a result, if it is one of these. What a question was at fault for does not speak against the server."""
    code = int(result["result"])
    if code in good:
        return code
    message = f" ({result['message']})" if result.get("message") else ""
    sentence = f"{what} was answered with {result['description']}{message}"
    raise Lost(sentence) if code in _BUSY else Unanswered(sentence)
