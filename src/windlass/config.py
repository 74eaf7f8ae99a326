"""The operator's settings: one YAML file and `WINDLASS_*` variables over it, read here and nowhere else.

Every setting has a default that works on one machine. A variable's name is `WINDLASS_` and the path of keys joined by
`_`, in capitals (`WINDLASS_FORGE_TOKEN`). Unknown keys and unknown variables are refused, so that a typing error
cannot pass for a setting. Secrets may be given as `…_file` and never appear in a repr.
"""

from __future__ import annotations

import difflib
import os
import typing
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from windlass.core.errors import Refused

PREFIX = "WINDLASS_"
# Read by the test suite and by scripts, not settings.
_NOT_SETTINGS = ("WINDLASS_TEST_", "WINDLASS_BENCH_", "WINDLASS_CHAOS_")
# Names the settings file itself, for the command line.
_CONFIG = "WINDLASS_CONFIG"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ForgeSettings(_Section):
    """Which forge, and as whom."""

    api_url: str = Field("https://api.github.com", description="REST address; GitHub Enterprise: https://HOST/api/v3")
    token: SecretStr | None = Field(None, description="a token instead of an App")
    token_file: Path | None = Field(None, description="file that holds the token")
    app_id: str | None = Field(None, description="the GitHub App's id")
    app_private_key_file: Path | None = Field(None, description="the App's private key, PEM")
    installation_id: int | None = Field(None, description="the App's installation; found by itself when there is one")
    webhook_secret: SecretStr | None = Field(None, description="secret that signs webhooks")
    webhook_secret_file: Path | None = Field(None, description="file that holds the webhook secret")
    webhook_secret_old: SecretStr | None = Field(None, description="the secret before, while it is being rotated")
    timeout_s: float = Field(20.0, gt=0, le=300, description="longest wait for one answer, seconds")
    write_spacing_s: float = Field(1.0, ge=0, le=60, description="pause between writes, seconds (GitHub asks for 1)")


class ApiSettings(_Section):
    """Where the HTTP API listens."""

    host: str = Field("127.0.0.1", description="address to listen on; only loopback is allowed until login exists")
    port: int = Field(8470, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    public_url: str = Field("", description="address that people see in links")
    largest_payload_bytes: int = Field(26_214_400, ge=1024, description="webhook calls above this are refused (413)")


class EngineSettings(_Section):
    """How much runs at once, and rhythms. Times in seconds."""

    agent_slots: int = Field(4, ge=1, le=1000, description="agents at work at once, over all replicas")
    agent_slots_per_repository: int = Field(2, ge=1, le=1000, description="of these, for one repository")
    test_slots: int = Field(2, ge=1, le=256, description="verifications at once in this process")
    light_slots: int = Field(12, ge=1, le=256, description="calls to the forge at once in this process")
    poll_interval_s: float = Field(
        0.25, gt=0, le=60, description="how often the queues are looked at for what no bell of this process told"
    )
    replica_ttl_s: float = Field(6.0, ge=1, le=600, description="a replica silent for so long is dead")
    reconcile_period_s: float = Field(60.0, gt=0, le=86400, description="how often lost webhooks are made up for")
    reconcile_batch: int = Field(50, ge=1, le=10000, description="pull requests looked at again in one pass")
    drain_s: float = Field(20.0, ge=0, le=600, description="how long short effects may take to end at a stop")
    checkpoint_period_s: float = Field(60.0, gt=0, le=86400, description="how often the ledger's head is signed")


class AgentSettings(_Section):
    """One agent: an entry of the catalogue with keys of its own, or a command (see docs/agents.md)."""

    command: Annotated[str, Field(max_length=4000)] | tuple[str | tuple[str, ...], ...] = Field(
        "", description="a text is run by `sh -c` in the workspace; a list replaces the preset's argument list"
    )
    preset: str = Field("", description="the catalogue's entry to begin with; empty: the one of the same name")
    model: str = Field("", description="model to ask for")
    image: str = Field("", description="container image to run in")
    profile: Path | None = Field(None, description="Windsurf only: a prepared profile; each run gets a copy of it")
    arguments: tuple[str, ...] = Field((), description="further arguments behind the preset's own")
    reads: tuple[Path, ...] = Field((), description="the agent's installation: its `bin` comes onto the PATH")
    needs_network: bool | None = Field(
        None, description="true: the machine's whole network, unwatched; empty: what `egress` or the preset names"
    )
    egress: tuple[str, ...] = Field(
        (),
        description="hosts it may reach through the proxy, in place of the preset's; `*`: all",
    )
    gateway: bool | Literal["auto"] = Field(
        "auto", description="whether its model's key stays with the gateway; auto: where the agent knows a way"
    )
    upstream: str = Field("", description="its model's address, for the gateway; empty: the provider's own")
    environment: dict[str, str] = Field(default_factory=dict, description="variables for the agent")
    secrets: dict[str, SecretStr] = Field(default_factory=dict, description="its keys, by variable")
    secret_files: dict[str, Path] = Field(default_factory=dict, description="files that hold its keys, by variable")


class PriceSettings(_Section):
    """What a model costs, in US dollars per million tokens."""

    input: Decimal = Field(ge=0, description="tokens read")
    output: Decimal = Field(ge=0, description="tokens written")
    cached: Decimal | None = Field(None, ge=0, description="tokens read from a cache; left out: as those read")


class GatewaySettings(_Section):
    """The model gateway: it keeps agents' keys to itself, counts, and holds the money budget of a run."""

    is_enabled: bool = Field(True, description="use it for agents that know a way to it (see docs/gateway.md)")
    run_limit_usd: Decimal | None = Field(None, gt=0, description="what one run may cost, if a policy allows more")
    prices: dict[str, PriceSettings] = Field(
        default_factory=dict,
        description="prices by patterns of models' names, over the built-in ones: `input`, `output`, `cached`, in US "
        "dollars per million tokens",
    )
    output_tokens: int = Field(
        16_000,
        ge=256,
        le=1_000_000,
        description="bound on an answer, for requests that name none, where money is limited",
    )
    largest_body_bytes: int = Field(32 << 20, ge=1 << 16, le=1 << 30, description="requests above this are refused")
    idle_s: float = Field(600.0, gt=0, le=3600, description="how long a provider may be silent, seconds")
    allows_http: bool = Field(False, description="allow models behind plain http that are not on this machine")
    proxy_url: str = Field("", repr=False, description="proxy on the way to the providers; empty: none")
    ca_file: Path | None = Field(None, description="certificates of authorities to trust instead of the usual ones")


class SandboxSettings(_Section):
    """What agents and tests may use."""

    reads: tuple[Path, ...] = Field((), description="extra paths that agents and tests may read")
    memory_bytes: int = Field(4 << 30, ge=1 << 26, description="memory of one sandbox")
    processes: int = Field(512, ge=8, description="processes of one sandbox")
    disk_bytes: int = Field(20 << 30, ge=0, description="what one work directory may hold; 0: no limit")
    disk_files: int = Field(1_000_000, ge=0, description="files and directories in one work directory; 0: no limit")
    setup_egress: tuple[str, ...] = Field((), description="hosts that a policy's setup_command may reach; none: none")
    cpus: float = Field(0.0, ge=0, le=1024, description="processors of one container at once; 0: no limit")
    is_required: bool = Field(False, description="refuse to start when the machine cannot isolate agents")
    runner: str = Field(
        "process", pattern="^(process|container)$", description="where runs without an image of their own go"
    )
    image: str = Field("", description="container image of agents and tests that name none, with runner: container")
    engine: str = Field(
        "", description="the container engine, unix:///PATH; empty: Podman or Docker where they usually are"
    )
    airlock_image: str = Field(
        "localhost/windlass-airlock", description="image of the sidecar that is a container's way out"
    )
    pulls_by_digest: bool = Field(False, description="fetch images whose name holds their digest; never by a tag")
    allows_open_network: bool = Field(False, description="containers whose agent needs a network get all of it")


class BlobSettings(_Section):
    """Where patches, logs, prompts and reports are kept. What is not given is found as the provider's tools do."""

    url: str = Field("", description="s3://bucket/prefix, gs://… or az://account/container/…; empty: in state_dir")
    endpoint: str = Field("", description="address of an S3-compatible server of your own")
    region: str = Field("", description="the bucket's region (S3)")
    access_key_id: str = Field("", description="S3: id of the access key; Azure: the account's name")
    secret_access_key: SecretStr | None = Field(None, description="S3: the secret key; Azure: the account's key")
    secret_access_key_file: Path | None = Field(None, description="file that holds the secret key")
    service_account_file: Path | None = Field(None, description="Google: the service account's JSON file")
    allows_http: bool = Field(False, description="allow a server of your own without TLS")


class Settings(_Section):
    """All settings."""

    state_dir: Path = Field(Path("~/.local/state/windlass"), description="database, mirrors, blobs, keys, workspaces")
    database_url: str = Field("", repr=False, description="postgresql://… for production; empty: SQLite in state_dir")
    instance: str = Field("windlass", pattern=r"^[a-z0-9-]{1,40}$", description="name that marks our sandboxes")
    forge: ForgeSettings = Field(default_factory=ForgeSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    engine: EngineSettings = Field(default_factory=EngineSettings)
    sandbox: SandboxSettings = Field(default_factory=SandboxSettings)
    gateway: GatewaySettings = Field(default_factory=GatewaySettings)
    blobs: BlobSettings = Field(default_factory=BlobSettings)
    agents: dict[str, AgentSettings] = Field(default_factory=dict, description="agents by name, see below")
    agents_dir: Path | None = Field(None, description="directory of catalogue entries of your own, NAME.yaml each")
    default_agent: str = Field("patch", description="agent of jobs whose policy names none")
    test_command: str = Field("", description="test command over every policy's; for one-repository use")
    policy: dict[str, Any] = Field(default_factory=dict, description="defaults for repositories without a policy file")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="what is logged, as JSON lines")


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from a YAML file (None: no file) and the environment. Raises Refused (bad_config)."""
    document = _read(path) if path is not None else {}
    for name, value in _from_environment(os.environ if environment is None else environment):
        _put(document, name, value)
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise Refused(
            _first_problem(error), code="bad_config", hint=f"mend {path or 'the WINDLASS_ variables'}"
        ) from None


def engine_addresses(sandbox: SandboxSettings, environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Where a container engine may answer, in the order in which it is looked for."""
    if sandbox.engine:
        return (sandbox.engine,)
    told = os.environ if environment is None else environment
    own = told.get("XDG_RUNTIME_DIR", "")
    places = (f"{own}/podman/podman.sock" if own else "", "/run/podman/podman.sock", "/run/docker.sock")
    there = tuple(f"unix://{place}" for place in (*places, "/var/run/docker.sock") if place and Path(place).exists())
    return tuple(address for address in (told.get("DOCKER_HOST", ""), *there) if address) or (
        "unix:///run/docker.sock",
    )


def variables() -> dict[str, tuple[str, ...]]:
    """Every variable and the path of the setting it sets."""
    return {PREFIX + "_".join(path).upper(): path for path in _leaves(Settings)}


def describe() -> list[tuple[str, str, object, str]]:
    """(key, variable, default, meaning) of every setting, for the documentation."""
    rows = []
    for path in _leaves(Settings):
        field = _field(path)
        default = field.get_default(call_default_factory=True)
        rows.append((".".join(path), PREFIX + "_".join(path).upper(), default, field.description or ""))
    return rows


def secret(value: SecretStr | None, file: Path | None, what: str) -> str | None:
    """A secret given directly or as a file. Raises Refused when the file cannot be read or is empty."""
    if value is not None:
        return value.get_secret_value()
    if file is None:
        return None
    try:
        text = file.expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{what} cannot be read from {file}", code="bad_config", hint=str(error)) from error
    if not text:
        raise Refused(f"{what} in {file} is empty", code="bad_config", hint="write the secret into the file")
    return text


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise Refused(f"{path} cannot be read", code="bad_config", hint=str(error)) from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        where = str(error).replace("\n", " ")[:200]
        raise Refused(f"{path} is not YAML: {where}", code="bad_config", hint="mend the file") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise Refused(
            f"{path} must be a mapping of keys to values", code="bad_config", hint="see docs/configuration.md"
        )
    return document


def _from_environment(environment: Mapping[str, str]) -> list[tuple[tuple[str, ...], Any]]:
    known = variables()
    found = []
    for name, value in environment.items():
        if name not in known and (not name.startswith(PREFIX) or name.startswith(_NOT_SETTINGS) or name == _CONFIG):
            continue
        if name not in known:
            raise Refused(f"{name} is no setting", code="bad_config", hint=_nearest(name, known))
        found.append((known[name], _parse(known[name], value)))
    return found


def _parse(path: tuple[str, ...], value: str) -> Any:
    """Lists and mappings are written as YAML, everything else as it is."""
    kind = typing.get_origin(_field(path).annotation)
    if kind not in {tuple, dict}:
        return value
    try:
        return yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        raise Refused(f"{'.'.join(path)} is not YAML", code="bad_config", hint=str(error)[:200]) from error


def _put(document: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        section = document.setdefault(key, {})
        if not isinstance(section, dict):
            raise Refused(f"{key} must be a mapping", code="bad_config", hint="see docs/configuration.md")
        document = section
    document[path[-1]] = value


def _leaves(model: type[BaseModel]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if typing.get_origin(kind) is None and isinstance(kind, type) and issubclass(kind, BaseModel):
            found += [(name, *rest) for rest in _leaves(kind)]
        else:
            found.append((name,))
    return found


def _field(path: tuple[str, ...]) -> Any:
    model: Any = Settings
    for key in path[:-1]:
        model = model.model_fields[key].annotation
    return model.model_fields[path[-1]]


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f"perhaps {found[0]} is meant" if found else "see docs/configuration.md for the names"


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "the settings"
    if problem["type"] == "extra_forbidden":
        known = [".".join(path) for path in _leaves(Settings)]
        return f"unknown key {where}, {_nearest(where, known)}"
    return f"{where}: {problem['msg']}"
