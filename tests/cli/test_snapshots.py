"""``vfgateway snapshot``, from taking one to putting everything back."""

from __future__ import annotations

from pathlib import Path

from tests.cli.command import administered, with_alice
from tests.support.gateway import orchestrator_in
from vfgateway.cli.failures import Exit
from vfgateway.errors import NotFound
from vfgateway.paths import parse_text
from vfgateway.services.session import FolderSession


async def _there(folder: FolderSession, path: str) -> bool:
    try:
        await folder.stat(parse_text(path))
    except NotFound:
        return False
    return True


async def test_snapshots(tmp_path: Path) -> None:
    """As the manual has it."""
    async with administered(tmp_path) as command:
        await with_alice(command)
        gateway = command.gateway
        folder = await orchestrator_in(gateway, await gateway.vfolders.resolve("alice/data"))
        assert (await command.run("snapshot", "list", "alice/data")).exit_code == 0
        await folder.make_dir(parse_text("dir"))
        assert await command("snapshot", "create", "alice/data", "one") == "snapshot one of alice/data taken\n"
        made = await command.json("snapshot", "create", "alice/data")
        assert [each["label"] for each in await command.json("snapshot", "list", "alice/data")] == [
            "one",
            made["label"],
        ]
        assert made["created"].endswith("Z")
        again = await command.run("snapshot", "create", "alice/data", "one")
        assert again.exit_code != Exit.OK
        assert "already exists" in again.output
        await folder.remove_dir(parse_text("dir"))
        await command("snapshot", "restore", "alice/data", "one", "dir", "--to", "back")
        assert await _there(folder, "back")
        for wrong in ((), ("dir", "--all"), ("--all", "--replace")):
            assert (await command.run("snapshot", "restore", "alice/data", "one", *wrong)).exit_code == Exit.USAGE
        await command("snapshot", "restore", "alice/data", "one", "--all", "--yes")
        assert await _there(folder, "dir")
        assert not await _there(folder, "back")
        await command("snapshot", "delete", "alice/data", "one", "--yes")
        missing = await command.run("snapshot", "delete", "alice/data", "one", "--yes")
        assert missing.exit_code == Exit.NOT_FOUND


async def test_schedules(tmp_path: Path) -> None:
    """Set, shown and ended."""
    async with administered(tmp_path) as command:
        await with_alice(command)
        assert (await command.json("snapshot", "schedule", "alice/data"))["due"] is None
        await command("snapshot", "schedule", "alice/data", "--hourly", "24", "--daily", "7")
        shown = await command.json("snapshot", "schedule", "alice/data")
        assert (shown["hourly"], shown["daily"], shown["weekly"]) == (24, 7, 0)
        await command("snapshot", "schedule", "alice/data", "--none")
        assert (await command.json("snapshot", "schedule", "alice/data"))["due"] is None
