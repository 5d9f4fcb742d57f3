"""What an installation gives: ours in both ways that pip knows, and other people's plugins beside it."""

from __future__ import annotations

import shutil
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.installation import Environment, build_wheel, copy_of_the_source

#: The one that the page for authors of plugins describes.
EXAMPLE = Path(__file__).parents[2] / "docs/examples/acme-storage"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    return build_wheel(copy_of_the_source(folder / "source"), folder / "dist")


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    """An environment in which nothing but vfgateway was installed, by plain pip."""
    folder = tmp_path_factory.mktemp(request.param)
    environment = Environment.make(folder / "venv")
    if request.param == "wheel":
        environment.install(str(wheel))
    else:
        environment.install("--editable", str(copy_of_the_source(folder / "source")))
    return environment


@pytest.fixture
def plain(tmp_path: Path, wheel: Path) -> Environment:
    """A fresh environment with our wheel, for other people's distributions."""
    environment = Environment.make(tmp_path / "venv")
    environment.install(str(wheel))
    return environment


# --- ours ----------------------------------------------------------------------------------------------


def test_twistd_offers_the_gateway(installed: Environment, tmp_path: Path) -> None:
    """An editable install of setuptools' usual kind would hide the plugin without a word."""
    offered = installed.twistd("--help", cwd=tmp_path)
    assert "vfgateway" in offered.stdout, offered.stderr
    options = installed.twistd("vfgateway", "--help", cwd=tmp_path)
    assert "--config=" in options.stdout, options.stderr


def test_the_command_is_there(installed: Environment, tmp_path: Path) -> None:
    """``vfgateway`` on the path of the environment."""
    done = installed.run("vfgateway", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "vfolder" in done.stdout


def test_the_embedded_default_makes_its_database(installed: Environment, tmp_path: Path) -> None:
    """Migrations and all other data that the code needs were installed with it."""
    script = dedent("""
        import os
        from sqlalchemy import create_engine, inspect
        from vfgateway import config
        from vfgateway.services.migrations import upgrade
        settings = config.load(None, {}, config.Path("/nonexistent"))
        settings.gateway.data_dir.mkdir()
        engine = create_engine(settings.database_url)
        upgrade(engine)
        print(inspect(engine).get_table_names())
    """)
    done = installed.run(str(installed.python), "-c", script, cwd=tmp_path)
    assert "vfolders" in done.stdout, done.stderr


def test_every_built_in_plugin_can_be_loaded(installed: Environment, tmp_path: Path) -> None:
    """No module was left out."""
    script = dedent("""
        from vfgateway import plugins
        print([plugins.find(kind, each.name, "").name for kind in plugins.KINDS for each in plugins.installed(kind)])
    """)
    done = installed.run(str(installed.python), "-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("vfs", "memory", "client", "manager", "accounts"):
        assert repr(name) in done.stdout


# --- other people's ------------------------------------------------------------------------------------


def distribution(folder: Path, name: str, dropin: str, module: str = "") -> Path:
    """The source of a distribution with one dropin and one module, as somebody else would write it."""
    package = name.replace("-", "_")
    (folder / "twisted/plugins").mkdir(parents=True)
    (folder / "setup.py").write_text(
        dedent(f"""
            from setuptools import setup
            setup(name={name!r}, version="2.0", packages=[{package!r}, "twisted.plugins"])
        """)
    )
    (folder / f"twisted/plugins/{package}_dropin.py").write_text(dedent(dropin))
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text(dedent(module))
    return folder


CROOKED = """
    from twisted.plugin import IPlugin
    from zope.interface import implementer

    from vfgateway.interfaces import IVolumeFactory


    @implementer(IPlugin, IVolumeFactory)
    class Crooked:
        name = "crooked"
        summary = "for an older vfgateway"

        def configure(self, settings):
            raise AssertionError("never called")


    crooked = Crooked()
"""
USE = """
    from twisted.internet.task import Clock
    from uuid import uuid4
    from vfgateway import assembly, config
    from vfgateway.model import Actor, FolderOptions, VFolderId
    from vfgateway.paths import FolderPath
    from vfgateway.runtime import Runtime

    settings = config.load(None, {}, config.Path("/nonexistent"))
    volumes = assembly.make_volumes(settings, lambda name: Runtime(Clock(), None, None, None, None))

    async def use(volume):
        await volume.start()
        vfid = VFolderId(None, uuid4())
        await volume.create_folder(vfid, FolderOptions())
        folder = await volume.folder(vfid, Actor())
        print(volume.name, volume.backend, volume.path, (await folder.stat(FolderPath(()))).is_dir)

    try:
        use(volumes["shelf"]).send(None)
    except StopIteration:
        pass
"""


def configured(folder: Path, backend: str) -> Path:
    """A folder with a configuration that puts volume ``shelf`` on ``backend``."""
    folder.mkdir()
    (folder / "vfgateway.toml").write_text(f'[volumes.shelf]\nbackend = "{backend}"\npath = "shelf"\n')
    return folder


def test_somebody_elses_volume_is_found_checked_and_used(plain: Environment, tmp_path: Path) -> None:
    """Installing a distribution is all it takes; its own table is read like ours."""
    plain.install("--no-deps", str(shutil.copytree(EXAMPLE, tmp_path / "acme")))
    site = configured(tmp_path / "site", "acme")
    done = plain.run(str(plain.python), "-c", dedent(USE), cwd=site)
    assert done.stdout == f"shelf acme {site / 'shelf'} True\n", done.stderr


def test_somebody_elses_plugin_that_does_not_fit_is_refused_by_name(plain: Environment, tmp_path: Path) -> None:
    """``twistd`` ends before it detaches, and says which distribution to update."""
    plain.install(str(distribution(tmp_path / "crooked", "crooked-storage", CROOKED)))
    site = configured(tmp_path / "site", "crooked")
    done = plain.twistd("vfgateway", cwd=site)
    assert done.returncode == 1
    told = done.stderr.strip().splitlines()[-1]
    line = (site / "vfgateway.toml").read_text().splitlines().index('backend = "crooked"') + 1
    assert told.startswith(
        f"vfgateway: {site}/vfgateway.toml:{line}: volumes.shelf.backend: "
        "the volume backend 'crooked' of crooked-storage 2.0 does not"
    )
    assert "Traceback" not in done.stderr


def test_a_broken_distribution_does_not_hide_the_others(plain: Environment, tmp_path: Path) -> None:
    """What cannot be imported takes nothing else with it."""
    plain.install(str(distribution(tmp_path / "broken", "broken-storage", "import broken_storage.missing")))
    plain.install("--no-deps", str(shutil.copytree(EXAMPLE, tmp_path / "acme")))
    script = (
        "from vfgateway import plugins; from vfgateway.interfaces import IVolumeFactory as kind; "
        "print([each.name for each in plugins.installed(kind)])"
    )
    done = plain.run(str(plain.python), "-c", script, cwd=tmp_path)
    assert "'acme'" in done.stdout, done.stderr
    assert "'vfs'" in done.stdout, done.stderr
