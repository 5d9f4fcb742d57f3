"""The configuration: where it is found, what is accepted, and what somebody is told who made a mistake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from vfgateway import config
from vfgateway.errors import ConfigurationError
from vfgateway.section import ConfigPath, Secret, Section, locate, mistake

SAMPLE = Path(__file__).parents[1] / "etc/vfgateway.toml"
NOWHERE = Path("/nonexistent/vfgateway.toml")


def refusal(text: str, folder: Path = Path("/srv/site")) -> str:
    """What the person who wrote ``text`` is told."""
    with pytest.raises(ConfigurationError) as caught:
        config.parse(text, folder)
    return str(caught.value)


# --- finding it ----------------------------------------------------------------------------------------


def test_a_named_file_wins_over_the_environment(tmp_path: Path) -> None:
    """``--config`` is stronger than ``$VFGATEWAY_CONFIG``."""
    named, other = tmp_path / "named.toml", tmp_path / "other.toml"
    named.write_text('[gateway]\ndata_dir = "named"')
    other.write_text('[gateway]\ndata_dir = "other"')
    settings = config.load(str(named), {"VFGATEWAY_CONFIG": str(other)}, NOWHERE)
    assert settings.gateway.data_dir == tmp_path / "named"
    assert settings.source == named


def test_places_are_tried_in_the_documented_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's file, then the working directory's, then the system's."""
    here, system = tmp_path / "here", tmp_path / "etc"
    for folder in (here, system):
        folder.mkdir()
        (folder / "vfgateway.toml").write_text("[gateway]")
    monkeypatch.chdir(here)
    environ = {"VFGATEWAY_CONFIG": str(tmp_path / "environ.toml")}
    assert config.find(None, environ, system / "vfgateway.toml") == tmp_path / "environ.toml"
    assert config.find(None, {}, system / "vfgateway.toml") == here / "vfgateway.toml"
    (here / "vfgateway.toml").unlink()
    assert config.find(None, {}, system / "vfgateway.toml") == system / "vfgateway.toml"


def test_without_any_file_a_whole_gateway_runs_under_var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded default keeps everything in ``./var`` and listens for this machine alone."""
    monkeypatch.chdir(tmp_path)
    settings = config.load(None, {}, NOWHERE)
    assert settings.source is None
    assert settings.gateway.data_dir == tmp_path / "var"
    assert settings.database_url == f"sqlite:///{tmp_path}/var/vfgateway.db"
    assert set(settings.frontends) >= {"client", "manager"}
    assert all("interface=127.0.0.1" in table["endpoint"] for table in settings.frontends.values())


@pytest.mark.parametrize("environ", [{}, {"VFGATEWAY_CONFIG": "/nonexistent/file.toml"}])
def test_a_named_file_that_is_missing_is_not_passed_over(environ: dict[str, str]) -> None:
    """Falling back to another configuration than the one asked for would be a bad surprise."""
    with pytest.raises(ConfigurationError, match=r"/nonexistent/file\.toml: No such file"):
        config.load(None if environ else "/nonexistent/file.toml", environ, NOWHERE)


def test_the_sample_is_the_embedded_default_with_comments(tmp_path: Path) -> None:
    """Whoever copies the sample begins with what ``make run`` gave them."""
    sample = config.parse(SAMPLE.read_text(), tmp_path)
    assert sample.model_dump() == config.parse(config.EMBEDDED, tmp_path).model_dump()


# --- mistakes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[gateway]\ndata_dri = "x"', "gateway.data_dri: there is no such key; did you mean data_dir?, got 'x'"),
        ("[gatway]", "gatway: there is no such key; did you mean gateway?, got {}"),
        ("gateway = 3", "gateway: should be a table, got 3"),
        (
            '[gateway]\nworkers = "many"',
            "gateway.workers: should be a number of processes, at most 256, or \"auto\", got 'many'",
        ),
        ("[gateway]\nworkers = 0", 'gateway.workers: should be a number of processes, at most 256, or "auto", got 0'),
        ("[gateway]\ndata_dir = 3", "gateway.data_dir: should be a path, got 3"),
        ("[gateway]\ndatabase_fil = 'x'", "gateway.database_fil: there is no such key; did you mean database_file?"),
        ('[volumes.a]\npath = "x"', "volumes.a.backend: is missing"),
        ("[volumes.a]\nbackend = 3", "volumes.a.backend: should be a text, got 3"),
        ("frontends = 3", "frontends: should be a table, got 3"),
        ("[frontends]\nclient = 3", "frontends.client: should be a table, got 3"),
        ('[gateway]\ntrusted_proxies = "10.0.0.1"', "gateway.trusted_proxies: should be a list, got '10.0.0.1'"),
        ("[events.redis]", "events.redis.url: is missing"),
    ],
)
def test_a_mistake_names_the_key_the_value_and_what_was_meant(text: str, told: str) -> None:
    """One line that can be acted on without the manual."""
    assert refusal(text) == told


def test_auto_workers_are_as_many_as_there_are_cores() -> None:
    """Those that this process may use."""
    expected = len(os.sched_getaffinity(0))
    assert config.parse('[gateway]\nworkers = "auto"', Path("/srv")).gateway.workers == expected


def test_broken_toml_names_the_file_and_the_line(tmp_path: Path) -> None:
    """A syntax error is found where it stands."""
    file = tmp_path / "broken.toml"
    file.write_text("[gateway]\ndata_dir =\n")
    with pytest.raises(ConfigurationError, match=r"broken\.toml:2: it is not TOML: "):
        config.load(file, {}, NOWHERE)


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = " + "[" * 100_000, 1), ("a = 1\nb = " + "1" * 5000, 2), ("a = 1\na = 2", 2), ("[gateway]\n\n[gate", 3)],
    ids=["deep", "long", "twice", "cut"],
)
def test_what_is_no_toml_in_unusual_ways_is_told_as_well(tmp_path: Path, text: str, line: int) -> None:
    """The library has other errors than its own for some."""
    file = tmp_path / "broken.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=rf"broken\.toml:{line}: it is not TOML: "):
        config.load(file, {}, NOWHERE)


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ('# first\n[volumes.a]\n# why\nbackend = [\n "vfs",\n]\n', 4, "volumes.a.backend"),
        ('log = """\n[log]\nlevel = 1\n"""\n', 1, "log"),
        ('[gateway]\n\n[volumes."a.b"]\nbackend = 3', 4, "volumes.a.b.backend"),
        ("[gateway]\n[alerts.mail]\nport = 1", 2, "alerts.mail.host"),
        ("gateway.workers = 0", 1, "gateway.workers"),
        ("audit = {keep = 'x'}", 1, "audit.keep"),
    ],
)
def test_a_mistake_in_a_file_names_its_line(tmp_path: Path, text: str, line: int, key: str) -> None:
    """However the key is written; a key that is missing is told where its table begins."""
    file = tmp_path / "vfgateway.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        config.load(file, {}, NOWHERE)
    assert str(caught.value).startswith(f"{file}:{line}: {key}: ")


@pytest.mark.parametrize("value", ["~nobody-here/x", "a\\u0000b"])
def test_a_path_that_cannot_be_one_is_refused(value: str) -> None:
    """Python would raise what nobody expects."""
    assert refusal(f'[gateway]\ndata_dir = "{value}"').startswith("gateway.data_dir: should be a path")


@pytest.mark.parametrize(
    "endpoint",
    ["tcp:web", "carrier-pigeon:1", "", "ssl:443:privateKey=/nonexistent", "systemd:domain=INET:index=0", "unix:sock"],
)
def test_an_endpoint_that_cannot_be_used_is_refused_before_the_start(endpoint: str) -> None:
    """The text is checked as Twisted will read it, without binding anything."""
    told = refusal(f'[frontends.client]\nendpoint = ["tcp:1", "{endpoint}"]')
    assert told.startswith("frontends.client.endpoint: ")
    assert repr(endpoint) in told


@pytest.mark.parametrize("proxy", ["10.0.0.0/33", "proxy.example.org", "10.0.0.1/8"])
def test_a_proxy_that_is_no_network_is_refused(proxy: str) -> None:
    """A proxy that is misspelt would otherwise be believed never, or everybody always."""
    assert "gateway.trusted_proxies" in refusal(f'[gateway]\ntrusted_proxies = ["{proxy}"]')


@pytest.mark.parametrize("name", ["a b", "../up", "", "a/b", "-a"])
def test_a_volume_needs_a_name_that_fits_in_urls(name: str) -> None:
    """Names of volumes appear in URLs, tokens and on command lines."""
    assert "volumes are named by letters" in refusal(f'[volumes."{name}"]\nbackend = "memory"')


@pytest.mark.parametrize(
    "line", ['database = ["pass-1", 3]', 'database = "pass-1"', 'databse = "pass-1"', 'database_fle = "pass-1"']
)
def test_a_mistake_in_a_secret_does_not_show_it(line: str) -> None:
    """Messages end up in logs and tickets."""
    assert "pass-1" not in refusal(f"[gateway]\n{line}")


# --- paths and secrets ---------------------------------------------------------------------------------


class Store(Section):
    """A plugin's table."""

    path: ConfigPath
    extra: tuple[ConfigPath, ...] = ()
    retries: int = 3
    password: Secret = Secret()


def test_relative_paths_count_from_the_files_folder() -> None:
    """Also in a plugin's own table, at any depth, wherever the daemon was started from."""
    table = locate({"path": "data", "extra": ["/abs", "b"]}, Path("/srv/site"))
    store = Store.model_validate(table)
    assert store.path == Path("/srv/site/data")
    assert store.extra == (Path("/abs"), Path("/srv/site/b"))


def test_a_relative_sqlite_database_counts_from_the_files_folder() -> None:
    """A URL holds a path too."""
    settings = config.parse('[gateway]\ndatabase = "sqlite:///db/gateway.db"', Path("/srv/site"))
    assert settings.database_url == "sqlite:////srv/site/db/gateway.db"


def test_the_database_url_can_be_kept_in_a_file(tmp_path: Path) -> None:
    """It may hold a password."""
    (tmp_path / "url").touch(mode=0o600)
    (tmp_path / "url").write_text("postgresql://gateway:pass-1@db/gateway\n")
    settings = config.parse('[gateway]\ndatabase_file = "url"', tmp_path)
    assert settings.database_url == "postgresql://gateway:pass-1@db/gateway"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"pth": "x"}, "volumes.a.pth: there is no such key; did you mean path?, got 'x'"),
        ({}, "volumes.a.path: is missing"),
        ({"path": "x", "retries": "x"}, "volumes.a.retries: should be a valid integer, unable to parse"),
        ({"path": "x", "password": "a", "password_file": "b"}, "volumes.a.password_file: give either password or"),
        ({"path": "x", "extra": ["y", 3]}, "volumes.a.extra.1: should be a path, got 3"),
    ],
)
def test_a_plugins_table_gets_the_same_answers(table: dict[str, object], told: str) -> None:
    """The full key is named, although the plugin sees only its own table."""
    with pytest.raises(ValidationError) as caught:
        Store.model_validate(table)
    assert str(mistake(caught.value, "volumes.a", table)).startswith(told)


def test_a_secret_can_be_written_down_or_kept_in_a_file(tmp_path: Path) -> None:
    """``password``, a list of them, and ``password_file`` are equals; the first value is the current one."""
    (tmp_path / "pw").touch(mode=0o600)
    (tmp_path / "pw").write_text("new\nold\n")
    for table in ({"password": ["new", "old"]}, {"password_file": "pw"}):
        store = Store.model_validate(locate({"path": "x", **table}, tmp_path))
        assert store.password.load() == ("new", "old")


def test_a_secret_does_not_show_in_a_dump_of_the_settings() -> None:
    """Settings end up in debuggers and logs."""
    assert "pass-1" not in repr(Store.model_validate({"path": "x", "password": "pass-1"}))


def test_a_missing_secret_is_generated_once(tmp_path: Path) -> None:
    """The next start reads what the first one made."""
    first = Secret(path=tmp_path / "var" / "token.secret").load(generate=True)
    assert len(first[0]) >= 32
    assert Secret(path=tmp_path / "var" / "token.secret").load(generate=True) == first


def test_a_secret_is_not_made_up_where_it_must_be_given(tmp_path: Path) -> None:
    """A password for somebody else's service cannot be generated."""
    with pytest.raises(ConfigurationError, match="cannot read the secret"):
        Secret(path=tmp_path / "missing").load()
    assert not list(tmp_path.iterdir())
