"""nginx with the shipped files in front of the gateway, a plain nginx with a cache, and nginx-s3-gateway."""

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.comparisons import EPOCH_CACHE, KEPT_ACCEL, PRIVATE_CACHE
from bench.contenders import relay
from bench.processes import NJS, SERVER_CORE, Contender, nginx, nginx_binary, pinned
from bench.stack import PRIVATE, Gateway, Stack, gateway, owner_token
from gateway_dev.processes import free_port

_SHIPPED = Path(__file__).parents[1] / "config" / "nginx"
# The lines of gateway.conf's cache: "#directive", and "#    content of its block"; "# text" is prose. TLS stays off.
_CACHE_LINE = re.compile(r"^( *)#(?=\S|    )(?!listen|http2|ssl_)", re.MULTILINE)
# nginx with njs, by name: its file, the settings of the gateway behind it, and what ids begin with.
_FORGETTING: dict[str, tuple[str, dict[str, object], str]] = {
    EPOCH_CACHE: ("gateway-cache.conf", {"memory_cache": {"max_bytes": 0}}, ""),
    PRIVATE_CACHE: ("private-cache.conf", {"memory_cache": {"max_bytes": 0}}, PRIVATE),
    KEPT_ACCEL: ("accel.conf", {"delivery": "accel"}, PRIVATE),
}
_HIT, _RELAYED = "nginx; hit", "nginx; fwd=bypass"


@dataclass(frozen=True)
class S3Gateway:
    """A rendered configuration of nginx-s3-gateway: its port, whether it caches, and whether it stays in front."""

    path: Path
    port: int
    has_cache: bool
    is_daemon: bool

    @property
    def name(self) -> str:
        """Name in the table."""
        return "s3-gateway cache" if self.has_cache else "s3-gateway"


def read_s3_gateway(path: Path) -> S3Gateway:
    """Return the facts in the configuration and all included files; raises ``ValueError`` if nginx refuses it."""
    command = [nginx_binary(), "-e", "stderr", "-T", "-c", str(path.resolve())]
    dump = subprocess.run(command, capture_output=True, text=True, check=False)
    if dump.returncode:
        raise ValueError(f"nginx refuses {path}: {dump.stderr.strip()}")
    return described(path.resolve(), dump.stdout)


def described(path: Path, text: str) -> S3Gateway:
    """Return the facts in the whole text of a configuration; raises ``ValueError`` without a port."""
    text = re.sub(r"^\s*#.*", "", text, flags=re.MULTILINE)
    listens = re.search(r"\blisten\s+(?:[^\s;]*:)?([0-9]+)\b", text)
    if listens is None:
        raise ValueError(f"{path} names no port: it needs `listen PORT;`")
    has_cache = re.search(r"\bproxy_cache\s+(?!off\b)", text) is not None
    return S3Gateway(path, int(listens[1]), has_cache, re.search(r"\bdaemon\s+off\s*;", text) is None)


def accel_conf(gateway_address: str, origin: str, *, has_cache: bool) -> str:
    """Return ``accel.conf`` with its upstreams, and with its cache or without."""
    text = _upstream(gateway_address) + _changed("cos.conf", r"server photos-\S+;", f"server {origin[7:]};")
    return text + (
        _read("accel.conf") if has_cache else _changed("accel.conf", r"proxy_cache cos;", "proxy_cache off;")
    )


def gateway_conf(gateway_address: str) -> str:
    """Return ``gateway.conf`` with its upstream and its cache."""
    return _upstream(gateway_address) + _CACHE_LINE.sub(r"\1", _read("gateway.conf"))


def with_njs(file: str, *behind: Gateway) -> str:
    """Return a file with its upstreams, whose cache forgets what has changed."""
    text = _read("upstream.conf")
    for port, addresses in (
        (8080, [backend.address for backend in behind]),
        (9090, [backend.admin for backend in behind]),
    ):
        servers = "\n".join(f"server {address} max_fails=0;" for address in addresses)
        text = re.sub(rf"^ *server 127\.0\.0\.1:{port} .*$", servers, text, flags=re.MULTILINE)
    return text + _read(file).replace("/no-", "/")


def forgetting_nginx(
    stack: Stack, name: str, file: str, behind: Sequence[Gateway]
) -> contextlib.AbstractContextManager[Contender]:
    """Run an nginx with njs and this file in front of gateways."""
    return _shipped(stack, name, with_njs(file, *behind), NJS)


@contextlib.contextmanager
def peers(
    stack: Stack, running: dict[str, Contender], wanted: set[str], s3_gateways: list[S3Gateway]
) -> Iterator[dict[str, Contender]]:
    """Run those of the peers that are wanted; yield them by name. ``running`` has the gateway that streams."""
    found: dict[str, Contender] = {}
    with contextlib.ExitStack() as servers:
        if wanted & {"accel", "accel cache"}:
            started = servers.enter_context(gateway(stack, "accel-gateway", {"delivery": "accel"}))
            for name in sorted(wanted & {"accel", "accel cache"}):
                http = accel_conf(started.address, stack.origin, has_cache=name == "accel cache")
                contender = servers.enter_context(_shipped(stack, name, http))
                expected = _HIT if name == "accel cache" else _RELAYED
                found[name] = replace(contender, behind=(started.pid,), cache_status=expected)
        if "front cache" in wanted:
            streaming = running["stream"]
            http = gateway_conf(streaming.prefix.removeprefix("http://").removesuffix("/i/"))
            contender = servers.enter_context(_shipped(stack, "front cache", http))
            found["front cache"] = replace(contender, behind=(streaming.pid,), cache_status=_HIT)
        found |= servers.enter_context(_forgetting(stack, wanted))
        if "nginx cache" in wanted:
            address = f"http://127.0.0.1:{free_port()}"
            path = f"proxy_cache_path {stack.folder}/nginx-cache keys_zone=c:20m max_size=10g use_temp_path=off; "
            http = path + relay(stack.origin, address, "proxy_cache c; proxy_cache_valid 200 1d;")
            pid = servers.enter_context(nginx(stack.folder, "cache", SERVER_CORE, http, f"{address}/4k-0"))
            found["nginx cache"] = Contender(f"{address}/", pid)
        for given in s3_gateways:
            if given.name in wanted:
                foreground = ("-g", "daemon off;") if given.is_daemon else ()
                url = f"http://127.0.0.1:{given.port}/"
                command = (nginx_binary(), "-e", "stderr", "-c", str(given.path), *foreground)
                found[given.name] = Contender(
                    url, servers.enter_context(pinned(SERVER_CORE, *command, ready=f"{url}4k-0"))
                )
        yield found


@contextlib.contextmanager
def _forgetting(stack: Stack, wanted: set[str]) -> Iterator[dict[str, Contender]]:
    """Run those of the nginxes with njs that are wanted; yield them by name."""
    found: dict[str, Contender] = {}
    with contextlib.ExitStack() as servers:
        for name, (file, image_proxy, prefix) in _FORGETTING.items():
            if name not in wanted:
                continue
            started = servers.enter_context(gateway(stack, f"behind {name}", image_proxy, has_callers=True))
            cos = _changed("cos.conf", r"server photos-\S+;", f"server {stack.origin[7:]};")
            http = with_njs(file, started) + (cos if file == "accel.conf" else "")
            contender = servers.enter_context(_shipped(stack, name, http, NJS))
            headers = {"Authorization": f"Bearer {owner_token()}"} if prefix == PRIVATE else {}
            found[name] = replace(
                contender,
                prefix=f"{contender.prefix}{prefix}",
                behind=(started.pid,),
                headers=headers,
                cache_status=_HIT,
            )
        yield found


@contextlib.contextmanager
def _shipped(stack: Stack, name: str, http: str, modules: Sequence[Path] = ()) -> Iterator[Contender]:
    folder = stack.folder / name.replace(" ", "-")
    folder.mkdir(mode=0o755)
    shutil.copytree(_SHIPPED / "image-gateway", folder / "image-gateway")
    address = f"127.0.0.1:{free_port()}"
    http = re.sub(r"^( *)listen 80( default_server)?;", rf"\1listen {address};", http, flags=re.MULTILINE)
    http = re.sub("/var/(cache|log)/nginx", str(folder), http)
    own = f"127.0.0.1:{free_port()}"  # where nginx asks itself
    path = folder / "image-gateway" / "changes.conf"
    path.write_text(path.read_text().replace("127.0.0.1:9089", own))
    with nginx(folder, "nginx", SERVER_CORE, http, f"http://{address}/healthz", modules) as pid:
        yield Contender(f"http://{address}/i/", pid)


def _upstream(address: str) -> str:
    return _changed("upstream.conf", r"127\.0\.0\.1:8080", address)


def _changed(file: str, old: str, new: str) -> str:
    text, count = re.subn(old, new, _read(file))
    if not count:
        raise RuntimeError(f"{file} has no {old}")
    return text


def _read(file: str) -> str:
    return (_SHIPPED / file).read_text()
