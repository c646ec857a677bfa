"""The files around the code say what the code does: configuration, container, proxy, monitoring, CI."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from pydantic import BaseModel

from gateway import cli
from gateway.api.routes import ADMIN
from gateway.app import create_admin_app, create_app
from gateway.commands.check import PLACEHOLDERS
from gateway.ip_address import is_loopback
from gateway.metrics.collectors import Metrics
from gateway.settings import AdminSettings, ImageProxySettings, JwtSettings, ServerSettings, Settings
from gateway.settings.sources import load_settings
from tests.settings_keys import key_at, section_in

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "config"
GATEWAY_YAML = CONFIG / "gateway.yaml"

# "#key: value" is a setting that is commented out; "# text" is prose, and so is the "#   key:" of an example.
COMMENTED_OUT = re.compile(r"^( *)#(?=[a-z_]+:)", re.MULTILINE)
EXAMPLE = re.compile(r"(?:^ *#   .*\n)+", re.MULTILINE)


@pytest.fixture(autouse=True)
def no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files alone speak."""
    for variable in [name for name in os.environ if name.upper().startswith("GATEWAY_")]:
        monkeypatch.delenv(variable)


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def read_yaml(path: str) -> Any:
    return yaml.safe_load(read(path))


# config/gateway.yaml


def documented() -> dict[str, Any]:
    """The file with every setting uncommented."""
    document = yaml.safe_load(COMMENTED_OUT.sub(r"\1", GATEWAY_YAML.read_text(encoding="utf-8")))
    assert isinstance(document, dict)
    return document


def undocumented_and_unknown(model: type[BaseModel], document: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The dotted names of keys that only one of the two has."""
    yield from (f"{path}{name}" for name in document.keys() ^ model.model_fields.keys())
    for name, field in model.model_fields.items():
        section = section_in(field.annotation)
        if section is not None and isinstance(document.get(name), Mapping):
            yield from undocumented_and_unknown(section, document[name], f"{path}{name}.")


def test_the_configuration_file_loads_as_it_stands() -> None:
    assert load_settings(GATEWAY_YAML).cos.bucket == "your-bucket-1250000000"


def test_the_configuration_file_documents_every_key_and_no_other() -> None:
    assert list(undocumented_and_unknown(Settings, documented())) == []


def test_the_configuration_file_shows_every_default() -> None:
    """What is commented out changes nothing when it is uncommented."""
    assert Settings(**documented()).model_dump() == load_settings(GATEWAY_YAML).model_dump()


def test_only_keys_without_a_default_are_set_in_the_configuration_file() -> None:
    stated = {f"{section}.{key}" for section, keys in read_yaml("config/gateway.yaml").items() if keys for key in keys}
    required = {
        f"{name}.{key}"
        for name, field in Settings.model_fields.items()
        if (section := section_in(field.annotation)) is not None
        for key, setting in section.model_fields.items()
        if setting.is_required()
    }
    assert stated == required
    given = read_yaml("config/gateway.yaml")
    held = {key: given[section][name] for key in required for section, _, name in [key.partition(".")]}
    assert held == PLACEHOLDERS, "what check takes for not filled in"


def test_every_setting_is_explained_by_the_comment_above_it() -> None:
    lines = read("config/gateway.yaml").splitlines()
    settings = [number for number, line in enumerate(lines) if COMMENTED_OUT.match(line)]
    unexplained = [lines[number] for number in settings if not lines[number - 1].strip().startswith("# ")]
    assert len(settings) > 50
    assert unexplained == []


def test_one_variable_makes_the_urls_of_the_documented_configuration_short_lived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GATEWAY_URL_CACHE__DEFAULT_TTL", "600")
    settings = load_settings(GATEWAY_YAML)
    assert (settings.url_cache.sign_window, settings.url_prerefresh.threshold) == (60, 150)


def examples() -> dict[str, Any]:
    """The sections that stand in the comments as examples."""
    blocks = EXAMPLE.findall(read("config/gateway.yaml"))
    texts = [re.sub(r"^ *#   ", "", block, flags=re.MULTILINE) for block in blocks]
    found: dict[str, Any] = {}
    for text in texts:
        if re.match(r"[a-z_]+:\n", text):
            for section, keys in yaml.safe_load(text).items():
                found.setdefault(section, {}).update(keys)
    return found


def test_the_examples_in_the_configuration_file_load() -> None:
    assert examples().keys() == {"image_styles", "access"}
    assert len(Settings(**documented() | examples()).image_styles) == 2


def test_the_jwt_example_shows_every_key_with_its_default() -> None:
    example = examples()["access"]["jwt"]
    assert example.keys() == JwtSettings.model_fields.keys() - {"public_key", "jwks_url"}  # in place of the secret
    assert JwtSettings(**example).model_dump() == JwtSettings(secret=example["secret"]).model_dump()


# The image


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile: each instruction's name and what follows it, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", read("Dockerfile"), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", text)
    split = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(name, rest) for name, rest in split]


def of_the_last_stage(name: str) -> list[str]:
    """What follows each instruction of this name in the stage that becomes the image."""
    stages = [number for number, (instruction, _) in enumerate(instructions()) if instruction == "FROM"]
    return [rest for instruction, rest in instructions()[stages[-1] :] if instruction == name]


def test_the_image_is_built_in_one_stage_and_runs_in_another() -> None:
    assert [rest.partition(" AS ")[2] for name, rest in instructions() if name == "FROM"] == ["builder", ""]
    assert not any("pip install" in command or "apt-get" in command for command in of_the_last_stage("RUN"))


def test_every_stage_has_a_python_that_the_package_takes() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    accepted = SpecifierSet(setup["options"]["python_requires"])
    versions = re.findall(r"^FROM python:([0-9.]+)-slim", read("Dockerfile"), flags=re.MULTILINE)
    assert len(versions) == 2
    assert len(set(versions)) == 1  # the environment links to the interpreter it was made with
    assert versions[0] in accepted


def test_the_image_runs_as_a_fixed_user_that_is_not_root() -> None:
    (user,) = of_the_last_stage("USER")
    uid = user.partition(":")[0]
    assert int(uid) > 0
    assert any(f"--uid {uid}" in command for command in of_the_last_stage("RUN"))


def test_the_image_starts_the_gateway_without_a_shell_in_between() -> None:
    """A shell as process 1 would keep SIGTERM for itself."""
    (entrypoint,), (command,) = of_the_last_stage("ENTRYPOINT"), of_the_last_stage("CMD")
    assert json.loads(entrypoint) == ["python", "-m", "gateway"]
    name, *arguments = json.loads(command)
    context = cli.main.commands[name].make_context(name, arguments)
    assert context.params == {"config": Path("/etc/image-gateway/gateway.yaml")}


def test_the_image_can_be_run_without_a_file() -> None:
    assert "image-gateway serve\n" in read("Dockerfile")
    assert cli.main.commands["serve"].make_context("serve", []).params == {"config": None}


def test_the_image_looks_after_its_own_health() -> None:
    (check,) = of_the_last_stage("HEALTHCHECK")
    program, option, code = json.loads(check.partition("CMD ")[2])
    assert (program, option) == ("python", "-c")
    compile(code, "HEALTHCHECK", "exec")
    assert f"http://127.0.0.1:{AdminSettings().port}/healthz" in code


def test_the_image_exposes_the_ports_that_the_gateway_listens_on() -> None:
    assert of_the_last_stage("EXPOSE") == [f"{ServerSettings().port} {AdminSettings().port}"]


def test_the_build_gets_what_it_copies_and_nothing_else() -> None:
    allowed = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    copied = {
        source.removeprefix("./")
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from")
        for source in shlex.split(rest)[:-1]
    }
    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)
    assert "*" in read(".dockerignore").splitlines()


# config/compose.yaml


def services() -> dict[str, dict[str, Any]]:
    found = read_yaml("config/compose.yaml")["services"]
    assert isinstance(found, dict)
    return found


def test_compose_runs_everything_the_gateway_needs() -> None:
    assert services().keys() == {"gateway", "redis", "postgres", "nginx", "prometheus"}


def test_every_file_that_compose_mounts_exists() -> None:
    volumes = read_yaml("config/compose.yaml")["volumes"]
    sources = [mount.split(":")[0] for service in services().values() for mount in service.get("volumes", ())]
    files = [source for source in sources if source.startswith(".")]
    assert len(files) >= 6
    assert [source for source in files if not (CONFIG / source).is_file()] == []
    assert {source for source in sources if not source.startswith(".")} == volumes.keys()


def test_the_database_of_compose_tells_of_changes() -> None:
    mounts = [mount.split(":")[:2] for mount in services()["postgres"]["volumes"] if mount.startswith("./sql/")]
    in_order = [source for source, _ in sorted(mounts, key=lambda mount: mount[1])]
    assert in_order == ["./sql/images.example.sql", "./sql/changes.sql"]


def test_every_service_is_watched_and_cannot_write_to_its_own_files() -> None:
    for name, service in services().items():
        assert "test" in service["healthcheck"], name
        assert service["read_only"] is True, name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_only_nginx_is_published_to_everybody() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert published == {"nginx": ["8080:80"], "prometheus": ["127.0.0.1:9091:9090"]}


def test_compose_sets_only_keys_that_there_are() -> None:
    gateway = services()["gateway"]
    variables = [name for name in gateway["environment"] if name != "GATEWAY_SECRETS_DIR"]
    paths = [name.removeprefix("GATEWAY_").lower().split("__") for name in variables]
    paths += [secret.split("__") for secret in gateway["secrets"]]
    assert [path for path in paths if not key_at(*path)] == []


def test_compose_takes_secrets_from_files_that_are_never_committed() -> None:
    secrets = read_yaml("config/compose.yaml")["secrets"]
    used = {secret for service in services().values() for secret in service.get("secrets", ())}
    assert used == secrets.keys()
    assert all(secret["file"].startswith("./secrets/") for secret in secrets.values())
    assert read("config/secrets/.gitignore").splitlines()[-2:] == ["*", "!.gitignore"]
    assert all(f" > {secret}" in read("config/compose.yaml") for secret in secrets)


def test_the_secrets_that_the_recipe_makes_are_closed_to_other_users(tmp_path: Path) -> None:
    """In a clone the folder is there already, open to all: only what it is set to counts, not what it is made with."""
    folder = tmp_path / "config" / "secrets"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    (tmp_path / "openssl").write_text("#!/bin/sh\necho random\n")
    (tmp_path / "openssl").chmod(0o755)
    lines = re.findall(r"^#   (.+)", read("config/compose.yaml"), flags=re.MULTILINE)
    recipe = [line for line in lines if "docker compose" not in line]
    assert len(recipe) == len(lines) - 1
    environment = {"PATH": f"{tmp_path}:{os.defpath}"}
    subprocess.run(["sh", "-e", "-c", "\n".join(recipe)], cwd=tmp_path, env=environment, check=True)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.name for file in folder.iterdir()} == read_yaml("config/compose.yaml")["secrets"].keys()
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o644}


def test_the_gateway_of_compose_has_an_admin_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one it warns at each start, since its admin port is not on the loopback interface."""
    gateway = services()["gateway"]
    for secret in gateway["secrets"]:
        text = "postgresql://app:word@postgres:5432/app" if secret == "postgres__dsn" else "0123456789abcdef" * 4
        (tmp_path / secret).write_text(text)
    for name, value in gateway["environment"].items():
        monkeypatch.setenv(name, value if not value.startswith("$") else "photos-1250000000")
    monkeypatch.setenv("GATEWAY_SECRETS_DIR", str(tmp_path))
    admin = load_settings(GATEWAY_YAML).admin
    assert not is_loopback(admin.host)
    assert admin.token is not None


def test_compose_waits_for_the_gateway_to_drain_before_it_kills_it() -> None:
    assert int(services()["gateway"]["stop_grace_period"].removesuffix("s")) > ServerSettings().shutdown_grace


def test_the_programs_that_compose_runs_as_health_checks_compile() -> None:
    test = services()["gateway"]["healthcheck"]["test"]
    assert test[:3] == ["CMD", "python", "-c"]
    compile(test[3], "healthcheck", "exec")


# config/sql


def test_what_operators_run_is_what_dev_and_the_tests_run() -> None:
    """The package has copies of its own: where it is installed, there is no config folder."""
    theirs, ours = (
        {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
        for folder in (CONFIG / "sql", ROOT / "gateway" / "catalog" / "sql")
    )
    assert theirs.keys() == {"images.example.sql", "changes.sql", "links.sql"}
    assert ours == theirs


@pytest.mark.parametrize("file", ["images.example.sql", "changes.sql", "links.sql"])
def test_a_mistake_in_what_operators_run_leaves_nothing_half_installed(file: str) -> None:
    """psql goes on after an error, unless it is told otherwise."""
    statements = [line for line in read(f"config/sql/{file}").splitlines() if line and not line.startswith("--")]
    assert statements[:2] == ["\\set ON_ERROR_STOP on", "BEGIN;"]
    assert statements[-1] == "COMMIT;"


# config/nginx


def directive(file: str, name: str) -> list[str]:
    """The values of an nginx directive, comments left out."""
    text = re.sub(r"#.*", "", read(f"config/nginx/{file}"))
    return re.findall(rf"^\s*{name}\s+([^;]+);", text, flags=re.MULTILINE)


@pytest.mark.parametrize("file", ["upstream.conf", "upstream.compose.conf"])
def test_nginx_finds_the_gateway_and_closes_idle_connections_first(file: str) -> None:
    (address,) = directive("gateway.conf", "proxy_pass")
    assert f"upstream {address.removeprefix('http://')} {{" in read(f"config/nginx/{file}")
    assert all(f":{ServerSettings().port}" in value for value in directive(file, "server"))
    (idle,) = directive(file, "keepalive_timeout")
    assert int(idle.removesuffix("s")) < ServerSettings().keepalive_timeout


@pytest.mark.parametrize("file", ["gateway.conf", "accel.conf"])
def test_nginx_gives_the_gateway_time_to_answer_for_itself(file: str) -> None:
    (seconds,) = directive(file, "proxy_read_timeout")
    assert int(seconds.removesuffix("s")) > ImageProxySettings().timeout


def test_nothing_of_cos_comes_twice_through_nginx() -> None:
    """What nginx adds to an object it hides of COS's own answer."""
    names = [
        {value.split()[0] for value in directive("image-gateway/to-cos.conf", name)}
        for name in ("add_header", "proxy_hide_header")
    ]
    assert len(names[0]) > 10
    assert names[0] <= names[1]


def test_nginx_keeps_no_images_on_disk_and_stops_when_the_client_leaves() -> None:
    assert directive("gateway.conf", "proxy_max_temp_file_size") == ["0"]
    assert directive("gateway.conf", "proxy_ignore_client_abort") == ["off"]
    assert directive("gateway.conf", "proxy_http_version") == ["1.1"]


@pytest.mark.parametrize("file", ["gateway.conf", "accel.conf"])
def test_nginx_does_not_write_signatures_into_its_log(file: str) -> None:
    (log_format,) = directive(file, "log_format")
    assert directive(file, "access_log") == [f"/var/log/nginx/access.log {log_format.split()[0]}"]
    assert re.search(r"\$(request|request_uri|args|query_string)\b", log_format) is None


@pytest.mark.parametrize("file", ["gateway.conf", "accel.conf"])
def test_nginx_answers_in_the_shape_of_the_gateways_errors(file: str) -> None:
    (answer,) = directive(file, "return")
    body = json.loads(answer.partition("'")[2].rpartition("'")[0])
    assert body.keys() == {"status", "message", "data", "code", "request_id"}
    assert f"`{body['code']}`" in read("docs/errors.md")


def test_the_header_of_accel_conf_replaces_an_installed_gateway_conf(tmp_path: Path) -> None:
    """Run both headers in a folder that stands for /: nginx then finds what accel needs and nothing else."""
    for folder in ("etc/nginx/conf.d", "etc/nginx/sites-enabled", "var/cache"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/nginx/conf.d/default.conf").touch()
    for file in ("gateway.conf", "accel.conf"):
        header = read(f"config/nginx/{file}").partition("\n\n")[0]
        lines = re.findall(r"^#   (.+)", header, flags=re.MULTILINE)
        recipe = [line for line in lines if not line.startswith("nginx ")]
        assert len(recipe) == len(lines) - 1
        script = re.sub(r" /(?=etc|var)", f" {shlex.quote(str(tmp_path))}/", "\n".join(recipe))
        script = script.replace("=photos-1250000000", "=pictures-1251111111")
        subprocess.run(["sh", "-e", "-c", script], cwd=ROOT, env={"PATH": os.environ["PATH"]}, check=True)
    installed = tmp_path / "etc/nginx"
    assert {file.name for file in (installed / "conf.d").iterdir()} == {"accel.conf", "upstream.conf", "cos.conf"}
    included = directive("accel.conf", "include") + directive("image-gateway/to-cos.conf", "include")
    assert [file for file in included if not (installed / file).is_file()] == []
    assert (
        " server pictures-1251111111.cos.ap-guangzhou.myqcloud.com:443;" in (installed / "conf.d/cos.conf").read_text()
    )


# config/prometheus


def alerts() -> list[dict[str, Any]]:
    return [rule for group in read_yaml("config/prometheus/alerts.yml")["groups"] for rule in group["rules"]]


def test_every_alert_is_about_metrics_that_there_are() -> None:
    known = Metrics().registry._names_to_collectors.keys()
    used = {name for rule in alerts() for name in re.findall(r"\bimage_gateway_\w+", rule["expr"])}
    assert len(used) >= 5
    assert used - known == set()


def test_every_alert_says_how_bad_it_is_and_what_happened() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
    assert len({rule["alert"] for rule in alerts()}) == len(alerts())


def route_names() -> set[str]:
    app = create_app(load_settings(GATEWAY_YAML), Metrics())
    public, admin = (
        {resource.name for resource in one.router.resources() if resource.name is not None}
        for one in (app, create_admin_app(app))
    )
    return public | {ADMIN + name for name in admin}


def test_every_route_that_an_alert_names_exists() -> None:
    patterns = [found for rule in alerts() for found in re.findall(r'route!?[=~]+"([^"]+)"', rule["expr"])]
    assert patterns
    named = {name for pattern in patterns for name in pattern.split("|")}
    assert [name for name in named if not any(re.fullmatch(name, route) for route in route_names())] == []


def test_the_tests_of_the_alerts_are_of_series_that_there_are() -> None:
    """`make alerts` runs them, where there is promtool."""
    tests = read_yaml("tests/prometheus/alerts.yml")
    assert [(ROOT / "tests/prometheus" / file).resolve() for file in tests["rule_files"]] == [
        CONFIG / "prometheus" / "alerts.yml"
    ]
    series = [one["series"] for test in tests["tests"] for one in test["input_series"]]
    there_are = {sample.name for metric in Metrics().registry.collect() for sample in metric.samples}
    there_are |= {f"{metric.name}_total" for metric in Metrics().registry.collect() if metric.type == "counter"}
    assert {one.partition("{")[0] for one in series} - there_are == set()
    routes = {found for one in series for found in re.findall(r'route="([^"]+)"', one)}
    assert routes - route_names() == set()
    alerted = {case["alertname"] for test in tests["tests"] for case in test["alert_rule_test"]}
    assert alerted <= {rule["alert"] for rule in alerts()}


def test_prometheus_scrapes_the_admin_port_and_reads_the_alerts() -> None:
    prometheus = read_yaml("config/prometheus/prometheus.yml")
    assert [(CONFIG / "prometheus" / file).is_file() for file in prometheus["rule_files"]] == [True]
    (job,) = prometheus["scrape_configs"]
    assert job["dns_sd_configs"][0]["port"] == AdminSettings().port
    assert f'job="{job["job_name"]}"' in alerts()[0]["expr"]


# .ci/run and the Makefile


def targets_of_make() -> set[str]:
    return set(re.findall(r"^([a-z]+):", read("Makefile"), flags=re.MULTILINE))


@pytest.mark.parametrize("folder", ["", "with space", """it's $HOME $(id) "`#;'""", "~/照片"])
def test_make_run_takes_any_folder(tmp_path: Path, folder: str) -> None:
    """What it would start only says how it was called."""
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "installed").touch()
    command = ["make", "--silent", "run", f"BIN={tmp_path}", f"STAMP={tmp_path}/installed", f"IMAGES={folder}"]
    environment = {"PATH": os.environ["PATH"]}  # without what a make around the tests told its children
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True, text=True)
    assert run.stdout.split("\0") == ["-m", "gateway", "dev", *(["--images", folder] if folder else []), ""]


@pytest.mark.parametrize("missing", ["ensurepip", "venv"])
def test_make_install_names_the_package_of_debian_that_is_missing(tmp_path: Path, missing: str) -> None:
    """Debian's Python has no ``ensurepip`` and makes half an environment without it."""
    (tmp_path / f"{missing}.py").write_text("raise ModuleNotFoundError\n")
    command = ["make", "install", f"PYTHON={sys.executable}", f"VENV={tmp_path}/venv"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False, text=True)
    assert run.returncode != 0
    assert "apt install python3-venv" in run.stdout
    assert not (tmp_path / "venv").exists()


def test_ci_can_be_started_and_calls_lint_and_tests() -> None:
    assert os.access(ROOT / ".ci/run", os.X_OK)
    script = read(".ci/run").splitlines()
    assert script[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in script
    assert script[-2:] == ["make lint", "make test"]
    assert {"lint", "test"} <= targets_of_make()


def test_aiohttp_is_held_to_the_minor_release_whose_private_state_is_known() -> None:
    """The server overrides private methods of aiohttp; the pinned version is one that is allowed."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (allowed,) = re.findall(r"^aiohttp (.+)$", setup["options"]["install_requires"], flags=re.MULTILINE)
    (pinned,) = re.findall(r"^aiohttp==(.+)$", read("constraints.txt"), flags=re.MULTILINE)
    major, minor, _ = pinned.split(".")
    assert pinned in SpecifierSet(allowed)
    assert f"{major}.{int(minor) + 1}.0" not in SpecifierSet(allowed)
