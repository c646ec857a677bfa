"""Faults of settings, of services beside the gateway, of queues, and of fronts."""

import json
import time
from typing import Final

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from pydantic import ValidationError

from tests.answering import answering
from tests.conftest import BUCKET, JWT_SECRET
from tests.faults.scene import BEARER, MANY, Injected, Scene, Sections, Step, nothing
from tests.stories.test_canary import running_front, settings, up
from tests.waiting import until


async def _another_secret(scene: Scene) -> None:
    await scene.gateway.reload(access={"jwt": {"secret": "the-secret-of-another-environment-32"}})
    assert set(await scene.ask(*["/i/hers"] * MANY, user="alice")) == {401}


async def _own_secret(scene: Scene) -> None:
    await scene.gateway.reload(access={"jwt": {"secret": JWT_SECRET}})


async def _refuse_reload(scene: Scene) -> None:
    with pytest.raises(ValidationError):
        await scene.gateway.reload(cos={"bucket": ""})


async def _accept_reload(scene: Scene) -> None:
    await scene.gateway.reload(cos={"bucket": BUCKET})


async def _ask_public_port(scene: Scene) -> None:
    question = "/api/v1/changes?since=0&epochs=0&nginx=edge-1"
    assert await scene.ask(question, headers={"Host": "img.example.com"}) == [404]
    assert scene.gateway.sample("nginx_misdirected_total") == 0, "a client"
    assert await scene.ask(question, headers={"Host": "localhost"}) == [404]


async def _through_old_files(scene: Scene) -> None:
    assert await scene.ask("/i/a", headers={"X-Gateway-Config-Version": "gateway.conf 0"}) == [200]


async def _purging(scene: Scene) -> Sections:
    scene.kept = edge = await scene.stack.enter_async_context(answering())
    return {
        "purge": {"target": "webhook", "url": edge.url, "base_urls": ["https://img.example.com"], "per_second": 100}
    }


async def _fail_to_purge(scene: Scene) -> None:
    """The target fails for twenty minutes, which are not waited for."""
    scene.kept.status = 503
    await scene.purge("a")
    await until(lambda: scene.gateway.sample("purges_total", result="postponed"))
    client = scene.request.getfixturevalue("redis_client")
    client.zincrby("image:purge:queue", -1200, "a")


async def _purge_again(scene: Scene) -> None:
    scene.kept.status = 200


def _given_up(kind: str) -> Step:
    """Return what puts an image on the dead list, as five failures do."""

    async def inject(scene: Scene) -> None:
        client = scene.request.getfixturevalue("redis_client")
        entry = json.dumps({"reason": "the security token ends", "at": time.time(), "attempts": 5})
        client.hset(f"image:{kind}:dead", "a", entry)
        await until(lambda: scene.gateway.sample(f"{kind}_dead") == 1, what="the metric of the alert")

    return inject


def _requeued(queue: str) -> Step:
    async def heal(scene: Scene) -> None:
        path = f"/api/v1/monitoring/queue/requeue{queue}"
        await scene.gateway.request("POST", path, admin=True, headers=BEARER)

    return heal


async def _renewing(_: Scene) -> Sections:
    return {"url_prerefresh": {"interval": 1}}


async def _with_key_set(scene: Scene) -> Sections:
    key = generate_private_key(SECP256R1())
    entry = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    scene.kept = provider = await scene.stack.enter_async_context(answering())
    provider.body = json.dumps({"keys": [{**entry, "kid": "k", "use": "sig"}]}).encode()
    return {"access": {"jwt": {"jwks_url": provider.url, "algorithms": ["ES256"]}}}


async def _lose_key_set(scene: Scene) -> None:
    scene.kept.status = 503
    await scene.start()


async def _find_key_set(scene: Scene) -> None:
    scene.kept.status = 200
    await scene.start()


async def _behind_front(scene: Scene) -> Sections:
    """The canary asks for rows of its own, through a front."""
    scene.kept = front = await scene.stack.enter_async_context(running_front())
    await scene.images.add("public")
    await scene.images.add("private", owner="alice", public=False)
    return {"canary": settings(front)}


async def _lead_front_here(scene: Scene) -> None:
    scene.kept.gateway = scene.gateway.ports.public
    await until(lambda: up(scene.gateway, scene.kept) == {"public": 1, "private_anonymous": 1})


def _front_sends(answer: web.Response | None) -> Step:
    async def inject(scene: Scene) -> None:
        scene.kept.instead = answer

    return inject


def _canary_asks_for(**images: str) -> Step:
    """Return what starts the gateway again with other images of the canary."""

    async def inject(scene: Scene) -> None:
        await scene.start(canary=images)
        scene.kept.gateway = scene.gateway.ports.public

    return inject


OF_OTHERS: Final = (
    Injected(
        "JWT secret of another environment",
        "answers_mostly",
        "warning",
        _another_secret,
        _own_secret,
        headline=r"^100 % of the requests for images get 401\. since ",
    ),
    Injected(
        "key set of tokens away",
        "dependency_down",
        "bad",
        _lose_key_set,
        _find_key_set,
        prepare=_with_key_set,
        light=("jwks", "down", "the identity provider's keys cannot be fetched: status 503"),
    ),
    Injected(
        "reload refused",
        "reload_refused",
        "warning",
        _refuse_reload,
        _accept_reload,
        headline="^The last reload was refused, and the old configuration stays: the log names each mistake. since ",
    ),
    Injected(
        "nginx asks the wrong port",
        "nginx_asks_wrong_port",
        "bad",
        _ask_public_port,
        nothing,
        headline="^An nginx asks the public port for changes: it must ask the admin port. since ",
    ),
    Injected("files of nginx of another release", "nginx_files_old", "warning", _through_old_files, nothing, lasts=180),
    Injected("target of purges away", "purges_late", "warning", _fail_to_purge, _purge_again, prepare=_purging),
    Injected(
        "purges given up", "purges_dead", "warning", _given_up("purge"), _requeued("?queue=purges"), prepare=_purging
    ),
    Injected("renewals given up", "renewals_dead", "warning", _given_up("refresh"), _requeued(""), prepare=_renewing),
    Injected(
        "front away",
        "canary_fails",
        "bad",
        _front_sends(web.Response(status=502)),
        _front_sends(None),
        begin=_lead_front_here,
        prepare=_behind_front,
        check=("from outside: ", "502 instead of 200"),
    ),
    Injected(
        "front sends an old copy",
        "canary_fails",
        "bad",
        _front_sends(web.Response(body=b"bytes of another", content_type="image/png")),
        _front_sends(None),
        begin=_lead_front_here,
        prepare=_behind_front,
        check=("16 bytes; the gateway knows 17",),
    ),
    Injected(
        "canary of an unknown id",
        "canary_wrong",
        "warning",
        _canary_asks_for(public="unknown"),
        _canary_asks_for(),
        begin=_lead_front_here,
        prepare=_behind_front,
        check=("no row of the public image",),
        is_alarming=False,
    ),
    Injected(
        "canary of a public row that is private",
        "canary_wrong",
        "warning",
        _canary_asks_for(public="hers"),
        _canary_asks_for(),
        begin=_lead_front_here,
        prepare=_behind_front,
        check=("the canary is wrong",),
        is_alarming=False,
    ),
)
