"""The second factor: asked for once it was shown to work, each code good once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import Clock

from vfgateway.blocking import InlinePool
from vfgateway.errors import AuthenticationFailed, Conflict, InvalidArgument, SecondFactorRequired, UnknownAccount
from vfgateway.services.accounts import Accounts
from vfgateway.services.database import Database
from vfgateway.services.people import User
from vfgateway.services.secondfactor import CODES, STEP, FactorState, SecondFactors


@pytest.fixture
def factors(database: Database, clock: Clock) -> SecondFactors:
    return SecondFactors(database, clock)


@pytest_twisted.async_yield_fixture
async def alice(database: Database, clock: Clock) -> AsyncIterator[User]:
    yield await Accounts(database, clock, InlinePool(reactor)).create_user("alice")


async def enrolled(factors: SecondFactors, user: User, clock: Clock) -> tuple[pyotp.TOTP, list[str]]:
    """An app that has the secret, and the recovery codes. The code of this moment is used up."""
    app = pyotp.TOTP((await factors.begin(user.id)).secret)
    return app, list(await factors.confirm(user.id, app.at(clock.seconds())))


async def refused(factors: SecondFactors, user: User, code: str) -> None:
    with pytest.raises(AuthenticationFailed):
        await factors.check(user.id, code)


async def test_setting_up(factors: SecondFactors, alice: User, clock: Clock) -> None:
    """Nothing is asked for before the app has shown a code; what it is told is what apps read."""
    await factors.check(alice.id, None)
    new = await factors.begin(alice.id)
    link = urlsplit(new.uri)
    assert (link.scheme, link.netloc) == ("otpauth", "totp")
    assert parse_qs(link.query)["secret"] == [new.secret]
    assert "alice" in link.path
    assert new.secret not in repr(new)
    assert await factors.state(alice.id) == FactorState(False, True, 0)
    await factors.check(alice.id, None)
    with pytest.raises(InvalidArgument, match="is the clock of the device right"):
        await factors.confirm(alice.id, "000000")
    app = pyotp.TOTP((await factors.begin(alice.id)).secret)  # once more: the first one is worth nothing
    with pytest.raises(InvalidArgument):
        await factors.confirm(alice.id, pyotp.TOTP(new.secret).at(clock.seconds()))
    codes = await factors.confirm(alice.id, app.at(clock.seconds()))
    assert len(set(codes)) == CODES
    assert await factors.state(alice.id) == FactorState(True, False, CODES)
    with pytest.raises(SecondFactorRequired, match="use an app password"):
        await factors.check(alice.id, None)
    with pytest.raises(Conflict):
        await factors.begin(alice.id)
    await factors.remove(alice.id)
    await factors.check(alice.id, None)
    with pytest.raises(Conflict):
        await factors.new_recovery_codes(alice.id)


async def test_a_code_is_good_once(factors: SecondFactors, alice: User, clock: Clock) -> None:
    """Also for two who come at the same moment, and the one of the confirmation; and so is none before it."""
    app, _ = await enrolled(factors, alice, clock)
    await refused(factors, alice, app.at(clock.seconds()))
    clock.advance(STEP)
    code = app.at(clock.seconds())
    tries = [Deferred.fromCoroutine(factors.check(alice.id, code)) for _ in range(5)]
    outcomes = await DeferredList(tries, consumeErrors=True)
    assert sorted(good for good, _ in outcomes) == [False] * 4 + [True]
    clock.advance(STEP)
    await factors.check(alice.id, app.at(clock.seconds()))
    await refused(factors, alice, app.at(clock.seconds() - STEP))


async def test_clocks_may_differ_a_little(factors: SecondFactors, alice: User, clock: Clock) -> None:
    """By half a minute either way; not by hours."""
    app, _ = await enrolled(factors, alice, clock)
    clock.advance(10 * STEP)
    for late in (-2 * STEP, 2 * STEP, 3600, -3600):
        await refused(factors, alice, app.at(clock.seconds() + late))
    await factors.check(alice.id, app.at(clock.seconds() - STEP))
    shown = app.at(clock.seconds() + STEP)
    await factors.check(alice.id, f" {shown[:3]} {shown[3:]} ")


@pytest.mark.parametrize("code", ["", "0", "00000", "0000000", "\u0663" * 6, "\0", "\udcff", "a" * 10_000, "-"])
async def test_what_is_no_code(factors: SecondFactors, alice: User, clock: Clock, code: str) -> None:
    """Is refused, and nothing worse."""
    await enrolled(factors, alice, clock)
    await refused(factors, alice, code)


async def test_recovery_codes(factors: SecondFactors, alice: User, clock: Clock) -> None:
    """Are good once each, however they are typed; new ones take the place of the old."""
    _, codes = await enrolled(factors, alice, clock)
    await factors.check(alice.id, codes[0])
    await refused(factors, alice, codes[0])
    await factors.check(alice.id, codes[1].replace("-", "").upper())
    assert (await factors.state(alice.id)).recovery_codes == CODES - 2
    fresh = await factors.new_recovery_codes(alice.id)
    await refused(factors, alice, codes[2])
    await factors.check(alice.id, fresh[0])


async def test_a_clock_that_was_ahead_does_not_keep_people_out(
    factors: SecondFactors, alice: User, clock: Clock
) -> None:
    """For longer than a recovery code takes to find; codes used in the future are not taken twice."""
    app, codes = await enrolled(factors, alice, clock)
    clock.advance(3600)
    await factors.check(alice.id, app.at(clock.seconds()))
    clock.rightNow -= 3600
    await refused(factors, alice, app.at(clock.seconds()))
    await factors.check(alice.id, codes[0])


async def test_it_goes_with_its_account(factors: SecondFactors, alice: User, clock: Clock, database: Database) -> None:
    """And is of nobody else."""
    accounts = Accounts(database, clock, InlinePool(reactor))
    await enrolled(factors, alice, clock)
    bob = await accounts.create_user("bob")
    await factors.check(bob.id, None)
    await accounts.delete_user(alice.id)
    again = await accounts.create_user("alice", user_id=alice.id)
    assert await factors.state(again.id) == FactorState(False, False, 0)
    await factors.check(again.id, None)
    await accounts.delete_user(alice.id)
    with pytest.raises(UnknownAccount):
        await factors.state(alice.id)
