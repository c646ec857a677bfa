"""``config/compose.yaml`` runs the gateway and its servers with the settings that exist."""

import os
import re
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from gateway.access.client_address import ClientAddress
from gateway.net.ip_address import is_loopback
from gateway.settings import Live, ServerSettings
from gateway.settings.sources import load_settings
from gateway_dev.database import ImagesTable
from gateway_dev.postgres_server import find_postgres
from tests.config.files import CONFIG, GATEWAY_YAML, read, read_yaml, write_secrets
from tests.settings_keys import key_at


def services() -> dict[str, dict[str, Any]]:
    found = read_yaml("config/compose.yaml")["services"]
    assert isinstance(found, dict)
    return found


def test_every_file_that_compose_mounts_exists() -> None:
    volumes = read_yaml("config/compose.yaml")["volumes"]
    sources = [mount.split(":")[0] for service in services().values() for mount in service.get("volumes", ())]
    files = [source for source in sources if source.startswith(".")]
    assert len(files) >= 6
    assert [source for source in files if not (CONFIG / source).exists()] == []
    assert {source for source in sources if not source.startswith(".")} == volumes.keys()


def test_the_database_of_compose_installs_the_tables_then_the_triggers_then_the_grants() -> None:
    mounts = [mount.split(":")[:2] for mount in services()["postgres"]["volumes"] if ":/docker-entrypoint" in mount]
    in_order = [source for source, _ in sorted(mounts, key=lambda mount: mount[1])]
    assert in_order == ["./sql/images.example.sql", "./sql/changes.sql", "./sql/links.sql", "./container/role.sh"]


def test_every_service_has_a_health_check_and_a_read_only_root() -> None:
    assert services().keys() == {"gateway", "redis", "postgres", "nginx", "prometheus", "grafana"}
    for name, service in services().items():
        assert "test" in service["healthcheck"], name
        assert service["read_only"] is True, name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_only_nginx_is_published_beyond_the_loopback_interface() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert published == {
        "nginx": ["8080:80"],
        "prometheus": ["127.0.0.1:9091:9090"],
        "grafana": ["127.0.0.1:3000:3000"],
    }


def test_compose_only_sets_keys_that_exist() -> None:
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


def test_the_commands_in_the_header_make_secrets_that_other_users_cannot_reach(tmp_path: Path) -> None:
    """A clone already has the folder with mode 0755, so the commands must change the mode, not only create it."""
    folder = tmp_path / "config" / "secrets"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    (tmp_path / "openssl").write_text("#!/bin/sh\necho random\n")
    (tmp_path / "openssl").chmod(0o755)
    lines = re.findall(r"^#   (.+)", read("config/compose.yaml"), flags=re.MULTILINE)
    commands = [line for line in lines if "docker compose" not in line]
    assert len(commands) == len(lines) - 1
    environment = {"PATH": f"{tmp_path}:{os.defpath}"}
    subprocess.run(["sh", "-e", "-c", "\n".join(commands)], cwd=tmp_path, env=environment, check=True)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.name for file in folder.iterdir()} == read_yaml("config/compose.yaml")["secrets"].keys()
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o644}


def test_the_gateway_of_compose_has_an_admin_token_and_knows_the_clients_behind_nginx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a token the gateway warns at each start, because its admin port is not on the loopback interface."""
    gateway = services()["gateway"]
    write_secrets(tmp_path, gateway["secrets"])
    for name, value in gateway["environment"].items():
        monkeypatch.setenv(name, value if not value.startswith("$") else "photos-1250000000")
    monkeypatch.setenv("GATEWAY_SECRETS_DIR", str(tmp_path))
    settings = load_settings(GATEWAY_YAML)
    assert not is_loopback(settings.admin.host)
    assert settings.admin.token is not None
    # Docker chooses the networks of containers from these by default.
    for nginx in ("172.31.0.3", "192.168.240.3"):
        address = ClientAddress(Live(settings.server))
        assert address.of({"X-Forwarded-For": "203.0.113.7"}, nginx) == "203.0.113.7"


def test_compose_asks_for_health_by_a_program_of_the_image_and_waits_for_the_drain() -> None:
    gateway = services()["gateway"]
    assert int(gateway["stop_grace_period"].removesuffix("s")) > ServerSettings().shutdown_grace
    _, program, path = gateway["healthcheck"]["test"]
    assert f"COPY config/container/{program} " in read("Dockerfile")
    assert path == "/readyz"


def test_the_gateway_of_compose_has_a_database_user_that_may_only_read_images(
    postgres_dsn: str, links_table: ImagesTable, tmp_path: Path
) -> None:
    assert "postgresql://image_gateway:" in read("config/compose.yaml")
    (tmp_path / "gateway_password").write_text("a-word\n")
    script = tmp_path / "role.sh"
    script.write_text(read("config/container/role.sh").replace("/run/secrets", str(tmp_path)))
    dsn = parse_dsn(postgres_dsn)
    environment = {
        "PATH": f"{find_postgres()}:{os.defpath}",
        "POSTGRES_USER": dsn["user"],
        "POSTGRES_DB": dsn["dbname"],
        "PGHOST": dsn["host"],
        "PGPORT": str(dsn["port"]),
        "PGPASSWORD": dsn["password"],
    }
    try:
        subprocess.run(["bash", "-e", str(script)], env=environment, check=True, capture_output=True)
        with (
            closing(psycopg2.connect(make_dsn(postgres_dsn, user="image_gateway", password="a-word"))) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT count(*) FROM images")
            cursor.execute("INSERT INTO image_gateway_links VALUES ('a', 1)")
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute("DELETE FROM images")
    finally:
        links_table.execute("DROP OWNED BY image_gateway; DROP ROLE image_gateway")
