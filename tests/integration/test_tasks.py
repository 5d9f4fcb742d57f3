"""Background tasks of real processes: what one had begun, another ends."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import requests

from tests.cli.command import run
from tests.support.process import PATIENCE, GatewayProcess, Site, eventually

FILES = 3000


def worker_of(site: Site, task: str) -> int | None:
    """The process that runs a task."""
    query = "SELECT p.pid FROM tasks t JOIN processes p ON p.id = t.process WHERE t.id = ? AND t.state = 'running' AND t.done > 0"
    with closing(sqlite3.connect(f"file:{site.database}?mode=ro", uri=True)) as database:
        row = database.execute(query, (task,)).fetchone()
    return row[0] if row else None


def test_a_task_goes_on_where_another_process_lives(tmp_path: Path) -> None:
    """A clone whose process is killed in the middle begins again in another, ends whole, and is watched all the time; it still knows the
    request that asked for it."""
    volumes = {name: {"path": str(tmp_path / name)} for name in ("local", "other")}
    site = Site(tmp_path / "site", volumes, workers=2)
    with GatewayProcess(site) as gateway:
        gateway.all_there()
        folder = site.populate()
        (folder.root / "many").mkdir()
        for number in range(FILES):
            (folder.root / "many" / f"{number}").write_bytes(b"%d" % number)
        where = f"/vfgateway/v1/vfolders/{folder.vfid[-32:]}/clone"
        answer = site.call_manager("POST", where, {"name": "copy", "owner": "alice", "volume": "other"})
        assert answer.status_code == 202, answer.text
        task = answer.json()["task"]
        eventually(lambda: worker_of(site, task) is not None, "it runs")
        victim = worker_of(site, task)
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        watched = run("--config", str(site.config), "task", "watch", task)
        while watched.exit_code == 5:  # it was the process that died whom the command had asked
            watched = run("--config", str(site.config), "task", "watch", task)
        assert watched.exit_code == 0, watched.output
        shown = site.manager("GET", f"/vfgateway/v1/tasks/{task}")
        assert (shown["state"], shown["attempt"]) == ("done", 2)
        assert shown["request_id"] == answer.headers["X-Request-Id"]
        assert shown["user"] == "manager"
        made = site.manager("GET", "/vfgateway/v1/vfolders/resolve?vfolder=alice/copy")
        assert made["status"] == "ready"
        place = Path(site.manager("GET", "/folder/mount", {"volume": "other", "vfid": made["id"]})["path"])
        assert {each.name: each.read_bytes() for each in (place / "many").iterdir()} == {
            str(number): b"%d" % number for number in range(FILES)
        }
        listed = requests.get(
            f"{site.manager_url}/vfgateway/v1/tasks?name=clone_vfolder&state=done",
            headers={"X-BackendAI-Storage-Auth-Token": "the-orchestrator-of-the-tests"},
            timeout=PATIENCE,
        ).json()["tasks"]
        assert [each["id"] for each in listed] == [task]
