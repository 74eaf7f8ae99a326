"""Settings: each by file and by variable, nothing unknown, nothing secret shown, secrets in files of the owner's."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from windlass import config
from windlass.config import SandboxSettings, Settings, load, secret
from windlass.core.errors import Refused
from windlass.wiring.parts import known_secrets, webhook_secrets
from windlass.wiring.service import api_token

# A value that is not the default, as YAML, for every setting.
VALUES: dict[str, Any] = {
    "WINDLASS_STATE_DIR": "/srv/windlass",
    "WINDLASS_DATABASE_URL": "postgresql://me:pass-word-1@db/windlass",
    "WINDLASS_INSTANCE": "second",
    "WINDLASS_AGENTS": {"codex": {"command": "codex run", "needs_network": True, "environment": {"K": "v"}}},
    "WINDLASS_GATEWAY_PRICES": {"qwen3-*": {"input": 0.2, "output": 0.8}},
    "WINDLASS_GATEWAY_RUN_LIMIT_USD": 2.5,
    "WINDLASS_DEFAULT_AGENT": "codex",
    "WINDLASS_TEST_COMMAND": "make test",
    "WINDLASS_POLICY": {"label": "robots"},
    "WINDLASS_LOG_LEVEL": "DEBUG",
    "WINDLASS_FORGE_APP_ID": "12345",
    "WINDLASS_SANDBOX_READS": ["/opt/a", "/opt/b"],
    "WINDLASS_SANDBOX_SETUP_EGRESS": ["packages.example.org"],
    "WINDLASS_SANDBOX_IS_REQUIRED": True,
    "WINDLASS_SANDBOX_RUNNER": "container",
    "WINDLASS_API_HOST": "::1",
}


def value_for(name: str) -> Any:
    """A value of the setting's own type that is not its default."""
    if name in VALUES:
        return VALUES[name]
    path = config.variables()[name]
    default = next(row[2] for row in config.describe() if row[0] == ".".join(path))
    if isinstance(default, bool):
        return not default
    if isinstance(default, int | float):
        return default + 1
    if name == "WINDLASS_FORGE_INSTALLATION_ID":
        return 7
    return "/run/secrets/x" if name.endswith("_FILE") else "some-text"


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    return {path[0]: nested(path[1:], value) if len(path) > 1 else value}


def read(settings: Settings, path: tuple[str, ...]) -> Any:
    found: Any = settings
    for key in path:
        found = getattr(found, key)
    return found


@pytest.mark.parametrize("name", sorted(config.variables()))
def test_every_setting_by_file_and_by_variable(name: str, tmp_path: Path) -> None:
    path, value = config.variables()[name], value_for(name)
    file = tmp_path / "windlass.yml"
    file.write_text(yaml.safe_dump(nested(path, value)))
    by_file = load(file, {})
    text = yaml.safe_dump(value, default_flow_style=True) if isinstance(value, dict | list) else str(value)
    by_variable = load(None, {name: text})
    assert read(by_file, path) == read(by_variable, path)
    assert read(by_file, path) != read(Settings(), path)
    assert by_file == by_variable


def test_a_variable_is_stronger_than_the_file(tmp_path: Path) -> None:
    file = tmp_path / "windlass.yml"
    file.write_text("api: {port: 1111, host: '::1'}\n")
    found = load(file, {"WINDLASS_API_PORT": "2222"}).api
    assert (found.port, found.host) == (2222, "::1")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("forge: {tokn: x}", "unknown key forge.tokn, perhaps forge.token is meant"),
        ("databse_url: x", "perhaps database_url"),
        ("zzz: 1", "unknown key zzz, see docs"),
        ("agents: {a: {command: x, comand: y}}", "unknown key agents.a.comand"),
        ("agents: {a: {image: 1}}", "agents.a.image"),
        ("api: {port: many}", "api.port"),
        ("api: {port: 70000}", "api.port"),
        ("engine: {agent_slots: 0}", "engine.agent_slots"),
        ("engine: {agent_slots: 1.5}", "engine.agent_slots"),
        ("forge:", "forge"),
        ("forge: text", "forge"),
        ("instance: 'has space'", "instance"),
        ("log_level: LOUD", "log_level"),
        ("- a\n- b", "must be a mapping"),
        ("just text", "must be a mapping"),
        ("a: [", "is not YAML"),
        ("a: 2001-99-99", "is not YAML"),
        ("a: !!python/object:os.system x", "is not YAML"),
    ],
)
def test_a_wrong_file_is_refused_by_name(text: str, named: str, tmp_path: Path) -> None:
    file = tmp_path / "windlass.yml"
    file.write_text(text)
    with pytest.raises(Refused) as caught:
        load(file, {})
    assert caught.value.code == "bad_config"
    assert named in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "absent.yml", tmp_path, binary):
        with pytest.raises(Refused) as caught:
            load(path, {})
        assert caught.value.code == "bad_config"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("WINDLASS_FORGE_TOKN", "perhaps WINDLASS_FORGE_TOKEN is meant"),
        ("WINDLASS_CONFIGURATION", "see docs"),
    ],
)
def test_an_unknown_variable_is_refused(name: str, hint: str) -> None:
    with pytest.raises(Refused, match=f"{name} is no setting") as caught:
        load(None, {name: "x"})
    assert hint in caught.value.hint


def test_variables_of_others_are_left_alone() -> None:
    others = {"PATH": "/bin", "WINDLASS_CONFIG": "x", "WINDLASS_TEST_POSTGRES": "x", "WINDLASS_CHAOS_JOBS": "1"}
    assert load(None, others) == Settings()


@pytest.mark.parametrize(
    ("name", "text"),
    [("WINDLASS_AGENTS", "{"), ("WINDLASS_AGENTS", "text"), ("WINDLASS_API_PORT", "x"), ("WINDLASS_POLICY", "[]")],
)
def test_a_wrong_variable_is_refused(name: str, text: str) -> None:
    with pytest.raises(Refused) as caught:
        load(None, {name: text})
    assert caught.value.code == "bad_config"


def test_no_secret_is_in_a_repr_or_an_error(tmp_path: Path) -> None:
    word = "pass-word-1"
    environment = {
        "WINDLASS_FORGE_TOKEN": word,
        "WINDLASS_FORGE_WEBHOOK_SECRET": word,
        "WINDLASS_FORGE_WEBHOOK_SECRET_OLD": word,
        "WINDLASS_DATABASE_URL": f"postgresql://me:{word}@db/windlass",
        "WINDLASS_AGENTS": f"{{a: {{command: x, secrets: {{API_KEY: {word}}}}}}}",
    }
    settings = load(None, environment)
    assert word not in f"{settings!r} {settings} {settings.agents!r} {settings.forge!r}"
    with pytest.raises(Refused) as caught:
        load(None, environment | {"WINDLASS_API_PORT": "x"})
    assert word not in str(caught.value)


def test_secrets_from_files(tmp_path: Path) -> None:
    token, hook = tmp_path / "token", tmp_path / "hook"
    token.write_text("from-a-file-1\n")
    hook.write_text(" hook-secret-1 \n")
    settings = load(
        None,
        {
            "WINDLASS_FORGE_TOKEN_FILE": str(token),
            "WINDLASS_FORGE_WEBHOOK_SECRET_FILE": str(hook),
            "WINDLASS_FORGE_WEBHOOK_SECRET_OLD": "hook-secret-0",
        },
    )
    assert webhook_secrets(settings) == ("hook-secret-1", "hook-secret-0")
    assert {"from-a-file-1", "hook-secret-1", "hook-secret-0"} <= set(known_secrets(settings))
    token.write_text("\n")
    for wrong, named in ((token, "empty"), (tmp_path / "absent", "cannot be read"), (tmp_path, "cannot be read")):
        with pytest.raises(Refused, match=named):
            secret(None, wrong, "the forge token")


def test_the_api_token_is_the_owners_alone_and_stays_the_same(tmp_path: Path) -> None:
    first = api_token(tmp_path)
    path = tmp_path / "api-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert api_token(tmp_path) == first
    assert len(first) >= 40
    path.chmod(0o640)
    with pytest.raises(Refused, match="read by others"):
        api_token(tmp_path)
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(Refused):
        api_token(tmp_path)


def test_every_setting_says_what_it_is() -> None:
    rows = config.describe()
    assert len(rows) == len({row[0] for row in rows}) == len(config.variables())
    assert all(row[3] for row in rows)


def test_an_engine_is_looked_for_where_it_is_told_and_where_they_usually_are(tmp_path: Path) -> None:
    (tmp_path / "podman").mkdir()
    (tmp_path / "podman" / "podman.sock").touch()
    own = f"unix://{tmp_path}/podman/podman.sock"
    told = {"DOCKER_HOST": "unix:///told.sock", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert config.engine_addresses(SandboxSettings(), told)[:2] == ("unix:///told.sock", own)
    assert config.engine_addresses(SandboxSettings(engine="unix:///mine.sock"), told) == ("unix:///mine.sock",)
    assert config.engine_addresses(SandboxSettings(), {}), "at least one, so that a refusal can name it"
