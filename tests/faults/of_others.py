"""Faults of settings, of services beside the gateway, of queues, and of fronts."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from pydantic import ValidationError

from tests.answering import answering
from tests.conftest import BUCKET, JWT_SECRET, token_for
from tests.faults.scene import BEARER, MANY, Injected, Scene, Sections, fault
from tests.stories.test_canary import is_up, running_front, settings, up
from tests.stories.test_variants import photo
from tests.waiting import until

OF_OTHERS: Final[list[Injected]] = []
_fault: Final = partial(fault, OF_OTHERS)


async def _purging(scene: Scene) -> Sections:
    scene.kept = edge = await scene.stack.enter_async_context(answering())
    return {
        "purge": {"target": "webhook", "url": edge.url, "base_urls": ["https://img.example.com"], "per_second": 100}
    }


async def _renewing(_: Scene) -> Sections:
    return {"url_prerefresh": {"interval": 1}}


async def _with_key_set(scene: Scene) -> Sections:
    key = generate_private_key(SECP256R1())
    entry = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    scene.kept = provider = await scene.stack.enter_async_context(answering())
    provider.body = json.dumps({"keys": [{**entry, "kid": "k", "use": "sig"}]}).encode()
    return {"access": {"jwt": {"jwks_url": provider.url, "algorithms": ["ES256"]}}}


async def _behind_front(scene: Scene) -> Sections:
    """The canary asks for rows of its own, through a front."""
    scene.kept = front = await scene.stack.enter_async_context(running_front())
    await scene.images.add("public", photo(), content_type="image/jpeg")
    await scene.images.add("private", owner="alice", public=False)
    await _write_token(scene, token_for("alice"))
    return {
        "canary": {**settings(front), "token_file": str(scene.folder / "token")},
        "access": {"jwt": {"secret": JWT_SECRET, "cookie": "session"}},
        "image_variants": {"negotiate": "accept"},
        "image_styles": {"card": {"process": "imageMogr2/thumbnail/{width}x", "widths": [160], "formats": ["webp"]}},
    }


async def _write_token(scene: Scene, token: str) -> None:
    await asyncio.to_thread((scene.folder / "token").write_text, token)


async def _lead_front_here(scene: Scene) -> None:
    scene.kept.gateway = scene.gateway.ports.public
    await until(lambda: up(scene.gateway, scene.kept) == {"public": 1, "private_anonymous": 1})
    await until(lambda: is_up(scene.gateway, scene.kept, "private_token") == 1)


@_fault(
    "JWT secret of another environment",
    "answers_mostly",
    headline=r"^\d+ % of the requests for images get 401\.",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    await scene.gateway.reload(access={"jwt": {"secret": "the-secret-of-another-environment-32"}})
    assert set(await scene.ask(*["/i/hers"] * MANY, user="alice")) == {401}
    yield
    await scene.gateway.reload(access={"jwt": {"secret": JWT_SECRET}})


@_fault(
    "key set of tokens away",
    "dependency_down",
    prepare=_with_key_set,
    light=("jwks", "down", "the identity provider's keys cannot be fetched: status 503"),
)
async def _(scene: Scene) -> AsyncIterator[None]:
    scene.kept.status = 503
    await scene.start()
    yield
    scene.kept.status = 200
    await scene.start()


@_fault(
    "reload refused",
    "reload_refused",
    headline="^The last reload was refused, and the old configuration stays: the log names each mistake.",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    with pytest.raises(ValidationError):
        await scene.gateway.reload(cos={"bucket": ""})
    yield
    await scene.gateway.reload(cos={"bucket": BUCKET})


@_fault(
    "nginx asks the wrong port",
    "nginx_asks_wrong_port",
    headline="^An nginx asks the public port for changes: it must ask the admin port.",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    question = "/api/v1/changes?since=0&epochs=0&nginx=edge-1"
    assert await scene.ask(question, headers={"Host": "img.example.com"}) == [404]
    assert scene.gateway.sample("nginx_misdirected_total") == 0, "a client"
    assert await scene.ask(question, headers={"Host": "localhost"}) == [404]
    yield


@_fault("files of nginx of another release", "nginx_files_old", lasts=180)
async def _(scene: Scene) -> AsyncIterator[None]:
    assert await scene.ask("/i/a", headers={"X-Gateway-Config-Version": "gateway.conf 0"}) == [200]
    yield


@_fault("target of purges away", "purges_late", prepare=_purging)
async def _(scene: Scene) -> AsyncIterator[None]:
    """The target fails for twenty minutes, which are not waited for."""
    scene.kept.status = 503
    await scene.purge("a")
    await until(lambda: scene.gateway.sample("purges_total", result="postponed"))
    scene.request.getfixturevalue("redis_client").zincrby("image:purge:queue", -1200, "a")
    yield
    scene.kept.status = 200


def _given_up(name: str, kind: str, problem: str, query: str, **shown: object) -> None:
    """Add a fault of an image on the dead list, as after five failures."""

    @_fault(name, problem, **shown)
    async def _(scene: Scene) -> AsyncIterator[None]:
        entry = json.dumps({"reason": "the security token ends", "at": time.time(), "attempts": 5})
        scene.request.getfixturevalue("redis_client").hset(f"image:{kind}:dead", "a", entry)
        await until(lambda: scene.gateway.sample(f"{kind}_dead") == 1, what="the metric of the alert")
        yield
        path = f"/api/v1/monitoring/queue/requeue{query}"
        await scene.gateway.request("POST", path, admin=True, headers=BEARER)


_given_up("purges given up", "purge", "purges_dead", "?queue=purges", prepare=_purging)
_given_up("renewals given up", "refresh", "renewals_dead", "", prepare=_renewing)


def _of_front(name: str, *check: str, remedy: str, **broken: object) -> None:
    """Add a fault of a front, by attributes of ``Front``."""

    @_fault(name, "canary_fails", begin=_lead_front_here, prepare=_behind_front, check=check, remedy=remedy)
    async def _(scene: Scene) -> AsyncIterator[None]:
        whole = replace(scene.kept)
        for attribute, value in broken.items():
            setattr(scene.kept, attribute, value)
        yield
        scene.kept.kept.clear()
        for attribute in broken:
            setattr(scene.kept, attribute, getattr(whole, attribute))


_of_front(
    "front away",
    "from outside: ",
    "502 instead of 200",
    remedy="look at the error log of ",
    instead=web.Response(status=502),
)
_of_front(
    "front sends an old copy",
    "16 bytes; the gateway knows ",
    remedy="look at the error log of ",
    instead=web.Response(body=b"bytes of another", content_type="image/png"),
)
_of_front(
    "front drops Authorization",
    "the front drops Authorization",
    remedy="let the front pass Authorization on",
    drops="Authorization",
)
_of_front(
    "front drops the cookie", "the front drops the cookie", remedy="let the front pass the cookie", drops="Cookie"
)
_of_front(
    "front keeps a refusal for those who may view",
    "the front keeps a 404",
    remedy="let the front keep no answer that says no-store",
    keeps=frozenset({404}),
)
_of_front(
    "front keeps private answers and formats by their address",
    "the front keeps a private answer by its address",
    "the front ignores Vary",
    remedy="let the front keep no answer with Cache-Control private",
    keeps=frozenset({200}),
)


def _of_canary(name: str, changed: Mapping[str, str], token: str, *check: str, remedy: str) -> None:
    """Add a fault of the canary's settings, or of its token."""

    @_fault(
        name,
        "canary_wrong",
        begin=_lead_front_here,
        prepare=_behind_front,
        check=check,
        remedy=remedy,
        is_alarming=False,
    )
    async def _(scene: Scene) -> AsyncIterator[None]:
        await _write_token(scene, token)
        await scene.start(canary=changed)
        scene.kept.gateway = scene.gateway.ports.public
        yield
        await _write_token(scene, token_for("alice"))
        await scene.start()
        scene.kept.gateway = scene.gateway.ports.public


_PUBLIC: Final = "name an active public image"
_TOKEN: Final = "a token of a user who may view canary.private"
_of_canary("canary of an unknown id", {"public": "x"}, token_for("alice"), "no row of the public image", remedy=_PUBLIC)
_of_canary(
    "canary of a public row that is private",
    {"public": "hers"},
    token_for("alice"),
    "the canary is wrong",
    remedy=_PUBLIC,
)
_of_canary("file of the canary's token broken", {}, "a b", "canary.token_file has no token", remedy=_TOKEN)
_of_canary(
    "token of the canary ended",
    {},
    token_for("alice", exp=1),
    "refuses the token of canary.token_file with 401",
    remedy=_TOKEN,
)


@_fault(
    "disk of the audit log full",
    "audit_lines_lost",
    lasts=180,
    remedy="free the disk of logging.audit",
    headline="^1 lines are missing in the audit log ",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    await scene.gateway.reload(logging={"audit": "/dev/full"})
    await scene.purge("never-seen")
    yield
    await scene.gateway.reload(logging={"audit": None})
