"""How many may come, how long they may take, and who is taken for gone."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import asyncssh
import paramiko
import pytest
from twisted.internet import reactor
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread

from tests.protocols.sftp.conftest import connected, port_of, type_serve
from tests.protocols.sftp.test_frontend import with_alice
from tests.support.process import ALICE
from tests.support.sftp import OPTIONS, run
from vfgateway.protocols.sftp import factory
from vfgateway.protocols.sftp.factory import Attempts

MSG_CHANNEL_REQUEST = 98


async def until(holds: Callable[[], object]) -> None:
    """Let the reactor run until it does; the test's own time limit ends a wait in vain."""
    while not holds():
        await deferLater(reactor, 0.01)


def stranger(port: int, address: str = "127.0.0.1") -> socket.socket:
    """A connection that says nothing. Blocks until it was greeted."""
    raw = socket.create_connection(("127.0.0.1", port), 20, source_address=(address, 0))
    assert raw.recv(4) == b"SSH-"
    return raw


def is_ended(raw: socket.socket) -> bool:
    """Whether the server has ended it. Blocks until it has."""
    try:
        while raw.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True


# --- how many ---


async def test_a_flood_of_strangers_keeps_nobody_out(tmp_path: Path, serve: type_serve) -> None:
    """Who fills the room loses their own oldest connection; somebody else who has not logged in yet stays, and so does who has."""
    async with with_alice(tmp_path) as (gateway, _), serve(gateway, unauthenticated=4) as service:
        port = port_of(service)
        client = await deferToThread(connected, port)
        slow = await deferToThread(stranger, port, "127.0.0.2")
        flood = [await deferToThread(stranger, port) for _ in range(7)]
        for raw in flood[:4]:
            assert await deferToThread(is_ended, raw)
        transports = service.factory.connections
        await until(lambda: len(transports) == 5)
        assert sorted(each.address for each in transports if each.user is None) == ["127.0.0.1"] * 3 + ["127.0.0.2"]
        assert await deferToThread(lambda: client.open_sftp().listdir("/")) == ["data"]
        another = await deferToThread(connected, port)
        for each in (client, another, slow, *flood):
            await deferToThread(each.close)


async def test_so_many_from_one_address(tmp_path: Path, serve: type_serve) -> None:
    """The one too many is told so when it wants to log in; from elsewhere others come in."""
    async with with_alice(tmp_path) as (gateway, _), serve(gateway, per_address=2) as service:
        port = port_of(service)
        clients = [await deferToThread(connected, port) for _ in range(2)]
        with pytest.raises(paramiko.SSHException):
            await deferToThread(connected, port)

        def elsewhere() -> None:
            raw = socket.create_connection(("127.0.0.1", port), 20, source_address=("127.0.0.3", 0))
            transport = paramiko.Transport(raw)
            transport.connect(username=ALICE[0], password=ALICE[1])
            transport.close()

        await deferToThread(elsewhere)
        for client in clients:
            await deferToThread(client.close)
        await until(lambda: not service.factory.connections)
        await deferToThread(lambda: connected(port).close())


async def test_so_many_in_all(tmp_path: Path, serve: type_serve) -> None:
    """Further ones are closed at once; when one goes, another may come."""
    async with with_alice(tmp_path) as (gateway, _), serve(gateway, connections=2) as service:
        port = port_of(service)
        first, second = [await deferToThread(connected, port) for _ in range(2)]

        def refused() -> bool:
            try:
                with socket.create_connection(("127.0.0.1", port), 20) as raw:
                    return is_ended(raw)
            except ConnectionResetError:  # even before connecting has returned
                return True

        assert await deferToThread(refused)
        await deferToThread(first.close)
        await until(lambda: len(service.factory.connections) == 1)
        await deferToThread(lambda: connected(port).close())
        await deferToThread(second.close)


# --- how long ---


async def test_the_login_takes_no_longer_than_that(tmp_path: Path, serve: type_serve) -> None:
    """One that has said nothing, one within the key exchange, and one that is asked for its password."""
    async with with_alice(tmp_path) as (gateway, _), serve(gateway) as service:
        port = port_of(service)
        silent = await deferToThread(stranger, port)
        begun = await deferToThread(stranger, port)
        begun.sendall(b"SSH-2.0-begun\r\n")

        def before_the_password() -> paramiko.Transport:
            transport = paramiko.Transport(("127.0.0.1", port))
            transport.start_client(timeout=20)
            return transport

        asked = await deferToThread(before_the_password)
        await until(lambda: len(service.factory.connections) == 3)
        service.factory.look()
        assert len(service.factory.connections) == 3
        for transport in service.factory.connections:
            transport.began -= service.factory.limits.login + 1
        service.factory.look()
        for raw in (silent, begun):
            assert await deferToThread(is_ended, raw)
            raw.close()
        await until(lambda: not asked.is_active())
        await until(lambda: not service.factory.connections)
        await deferToThread(asked.close)


def test_wrong_logins_take_longer_and_longer() -> None:
    """For the name and for the address each; success forgives the name, time everything, and memory is bounded."""
    clock = Clock()
    attempts = Attempts(clock, 0.5)
    assert [attempts.failed("address a", "name n") for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 16, 16]
    assert attempts.failed("address b", "name n") == 16
    assert attempts.failed("address a", "name m") == 16
    assert attempts.failed("address c", "name o") == 0.5
    attempts.succeeded("name n")
    assert attempts.failed("address d", "name n") == 0.5
    clock.advance(factory.MEMORY)
    assert attempts.failed("address a", "name n") == 0.5
    for number in range(factory.MOST_REMEMBERED * 2):
        attempts.failed(f"name {number}")
    assert len(attempts._known) == factory.MOST_REMEMBERED
    assert attempts.failed(f"name {number}") == 1


# --- who is there ---


async def test_a_client_that_answers_stays(tmp_path: Path, serve: type_serve) -> None:
    """paramiko has been silent for a long time, is asked, and answers whatever it answers."""
    async with with_alice(tmp_path) as (gateway, _), serve(gateway) as service:
        client = await deferToThread(connected, port_of(service))
        (transport,) = service.factory.connections
        before = [0.0]
        for _ in range(3):
            transport.heard = before[0] = transport.heard - service.factory.limits.silence - 1
            service.factory.look()
            await until(lambda: transport.heard > before[0])
        assert await deferToThread(lambda: client.open_sftp().listdir("/")) == ["data"]
        await deferToThread(client.close)


async def test_a_dead_client_is_noticed(tmp_path: Path, serve: type_serve) -> None:
    """OpenSSH's, stopped in the middle: it answers nothing, its connection ends, and its place is free."""
    async with with_alice(tmp_path) as (gateway, _), serve(gateway) as service:
        key = tmp_path / "key"
        await deferToThread(run, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
        (user,) = await gateway.accounts.users()
        line = key.with_suffix(".pub").read_text()
        await gateway.accounts.add_key(user.id, "public_key", public_key=line)
        options = [*OPTIONS, f"-oIdentityFile={key}", f"-oPort={port_of(service)}"]
        client = await deferToThread(
            subprocess.Popen,
            ["ssh", *options, "-s", "alice@127.0.0.1", "sftp"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(b"\0\0\0\5\1\0\0\0\3")
            client.stdin.flush()
            assert len(await deferToThread(client.stdout.read, 9)) == 9
            client.send_signal(signal.SIGSTOP)
            (transport,) = service.factory.connections
            transport.heard -= service.factory.limits.silence + 1
            service.factory.look()
            assert transport in service.factory.connections
            transport.heard -= 2 * service.factory.limits.silence
            service.factory.look()
            await until(lambda: not service.factory.connections)
            assert not service.factory.users
        finally:
            client.kill()
            await deferToThread(client.communicate)


async def test_clients_that_ask_are_answered(tmp_path: Path, serve: type_serve) -> None:
    """By a global request as OpenSSH sends it, by one on a channel, and again and again by asyncssh, which would give up otherwise."""
    async with with_alice(tmp_path) as (gateway, _), serve(gateway) as service:
        port = port_of(service)

        def ask() -> None:
            with connected(port) as client:
                transport = client.get_transport()
                assert transport is not None
                channel = client.open_sftp().get_channel()
                assert channel is not None
                assert transport.global_request("keepalive@openssh.com", wait=True) is None
                message = paramiko.Message()
                message.add_byte(bytes([MSG_CHANNEL_REQUEST]))
                message.add_int(channel.remote_chanid)
                message.add_string("keepalive@openssh.com")
                message.add_boolean(True)
                channel._event_pending()
                transport._send_user_message(message)
                with pytest.raises(
                    paramiko.SSHException, match="closed"
                ):  # as paramiko takes a refusal, which is an answer
                    channel._wait_for_event()
                assert transport.is_active()

        await deferToThread(ask)

        async def stay() -> None:
            login = {"username": ALICE[0], "password": ALICE[1], "known_hosts": None, "client_keys": None}
            alive = {"keepalive_interval": 0.05, "keepalive_count_max": 2}
            async with asyncssh.connect("127.0.0.1", port, config=None, **login, **alive) as connection:
                answered = asyncio.Semaphore(0)
                ask = connection._make_keepalive_request

                async def counted() -> None:
                    await ask()
                    answered.release()

                connection._make_keepalive_request = counted  # type: ignore[method-assign]
                for _ in range(5):
                    await answered.acquire()
                async with connection.start_sftp_client() as sftp:
                    assert "data" in await sftp.listdir("/")

        await deferToThread(lambda: asyncio.run(stay()))


async def test_small_answers_do_not_wait_in_the_kernel(tmp_path: Path, serve: type_serve) -> None:
    """Nagle's algorithm would hold back the second of two answers until the client has acknowledged the first, 40 ms later: each file read
    on a mount took that long."""
    async with with_alice(tmp_path) as (gateway, _), serve(gateway) as service:
        client = await deferToThread(connected, port_of(service))
        (transport,) = service.factory.connections
        assert transport.transport.getTcpNoDelay()
        await deferToThread(client.close)
