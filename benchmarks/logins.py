"""``python -m benchmarks.logins``: does it take longer to refuse a name that somebody has than one that nobody has?

Wrong passwords for either kind of name are shown to a whole gateway in turns, with real Argon2id and all that counts wrong logins. Told are the
medians of both, their ratio, and how far apart the two are in ranks (Mann and Whitney's U as a normal deviate): beyond about 3, in run
after run, names could be told apart by whoever asks often enough.
"""

# mypy: disallow-untyped-calls=False

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.cred.credentials import UsernamePassword
from twisted.internet.task import react

from vfgateway import config
from vfgateway.assembly import make_authenticators
from vfgateway.credentials import PasswordAndCode
from vfgateway.errors import AuthenticationFailed, TooManyAttempts
from vfgateway.principals import Origin
from vfgateway.services.gateway import Gateway

#: Wrong logins of one name: fewer than make the next one wait.
EACH = 15


async def measure(reactor: Any, rounds: int, codes: bool) -> dict[str, Any]:
    """Refuse each kind of name so often, in turns, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        settings = config.parse("[authenticators.accounts]\n", Path(folder))
        gateway = Gateway(settings, reactor)
        gateway.install([], list(make_authenticators(settings, gateway).values()))
        await gateway.start()
        try:
            for number in range(-(-rounds // EACH)):
                user = await gateway.accounts.create_user(f"known-{number}")
                await gateway.accounts.set_password(user.id, f"the right one {number}")
            took: dict[str, list[float]] = {"known": [], "strange": []}
            for count in range(-10, rounds):  # the first ones warm up
                for kind, times in sorted(took.items(), reverse=bool(count % 2)):
                    seconds = await _refused(gateway, f"{kind}-{count // EACH}", count, codes)
                    if count >= 0:
                        times.append(seconds)
        finally:
            await gateway.stop()
    return {
        "rounds": rounds,
        "known_name_ms": 1000 * statistics.median(took["known"]),
        "strange_name_ms": 1000 * statistics.median(took["strange"]),
        "ratio": statistics.median(took["known"]) / statistics.median(took["strange"]),
        "deviate": deviate(took["known"], took["strange"]),
    }


async def _refused(gateway: Gateway, name: str, count: int, codes: bool) -> float:
    password = f"wrong {count}".encode()
    shown = PasswordAndCode(name.encode(), password, "000000") if codes else UsernamePassword(name.encode(), password)
    origin = Origin("webdav", f"10.0.{(count + 10) // 250}.{(count + 10) % 250}")
    began = time.perf_counter()
    try:
        await gateway.authenticate(shown, origin)
    except TooManyAttempts:
        raise RuntimeError("it was not looked at: this measures nothing") from None
    except AuthenticationFailed:
        return time.perf_counter() - began
    raise RuntimeError("a wrong password was taken")


def deviate(one: Sequence[float], other: Sequence[float]) -> float:
    """Mann and Whitney's U of two samples without ties, as a normal deviate."""
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    ranks = sum(rank for rank, (_, which) in enumerate(ranked, 1) if which == 0)
    n, m = len(one), len(other)
    expected, spread = n * (n + m + 1) / 2, math.sqrt(n * m * (n + m + 1) / 12)
    return (ranks - expected) / spread


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.logins", description=__doc__)
    parser.add_argument("--rounds", type=int, default=400, help="wrong logins of each kind")
    parser.add_argument("--codes", action="store_true", help="with codes of a second factor besides")
    chosen = parser.parse_args()

    async def run(reactor: Any) -> None:
        print(json.dumps(await measure(reactor, chosen.rounds, chosen.codes), indent=2))

    react(run)


if __name__ == "__main__":
    main()
