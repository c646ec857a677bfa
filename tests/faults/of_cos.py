"""Faults of COS, of the way to it, and of its credentials."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Final

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.credential_services import CredentialFault
from gateway_dev.cos_emulator.faults import Cut, Fault, Refuse, Reset
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore
from gateway_dev.database import ImageRow
from gateway_dev.processes import free_port
from tests.certificates import server_context, write_certificate
from tests.conftest import BUCKET, SECRET_ID, SECRET_KEY
from tests.faults.scene import Injected, Scene, Sections, fault
from tests.stories.test_credential_sources import ENTRY_KEY, cvm_role, services_of
from tests.waiting import until, until_asked

OF_COS: Final[list[Injected]] = []
_fault: Final = partial(fault, OF_COS)
OTHER: Final = "other-1250000000"


async def _clock_ahead(scene: Scene) -> Sections:
    """COS has another clock, ``kept`` seconds ahead."""
    scene.kept = 0.0
    credentials = {SECRET_ID: Credential(SECRET_KEY)}
    elsewhen = CosEmulator(
        scene.cos.store, credentials, default_bucket=BUCKET, now=lambda: time.time() + float(scene.kept)
    )
    cos = await scene.stack.enter_async_context(elsewhen)
    scene.valve.lead_to(cos.port)
    return {}


async def _another_bucket(scene: Scene) -> Sections:
    store = ObjectStore()
    store.create_bucket(OTHER)
    store.put(OTHER, "dog.png", b"bytes of an image", content_type="image/png")
    other = CosEmulator(store, {SECRET_ID: Credential(SECRET_KEY)}, default_bucket=OTHER)
    scene.kept = await scene.stack.enter_async_context(other)
    await scene.images.add_row(ImageRow("dog", None, "dog.png", bucket=OTHER, public=True))
    return {"cos": {"buckets": {OTHER: {"domain": f"127.0.0.1:{other.port}"}}}}


async def _from_file(scene: Scene) -> Sections:
    scene.kept = await scene.stack.enter_async_context(services_of(scene.cos))
    await _write_credentials(scene, 3600)
    source = {"source": "file", "path": str(scene.folder / "cos.json")}
    return {
        "cos": {"secret_id": None, "secret_key": None, "credentials": source},
        "redis": {"entry_key": ENTRY_KEY},
    }


async def _write_credentials(scene: Scene, life: float) -> None:
    issued = scene.kept.issuer.issue()
    values = {"secret_id": issued.secret_id, "secret_key": issued.secret_key, "token": issued.token}
    await asyncio.to_thread(_replace, scene.folder / "cos.json", {**values, "expires_at": int(time.time() + life)})


def _replace(file: Path, values: object) -> None:
    new = file.with_suffix(".new")
    new.write_text(json.dumps(values))
    new.rename(file)


async def _of_instance(scene: Scene) -> Sections:
    scene.kept = await scene.stack.enter_async_context(services_of(scene.cos))
    return cvm_role(scene.kept)


@_fault(
    "key half rotated",
    "cos_refuses",
    light=("cos", "degraded", "SignatureDoesNotMatch"),
    check=(f"fail  cos {BUCKET}: COS answered 403 SignatureDoesNotMatch",),
    advice="cos.secret_key",
    headline="^COS refuses: SignatureDoesNotMatch",
    works="/i/b",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    assert await scene.ask("/i/c") == [200]
    await scene.gateway.reload(cos={"secret_key": "another-secret-key"})
    assert await scene.ask("/i/b", "/i/c") == [502, 200]
    yield
    await scene.gateway.reload(cos={"secret_key": SECRET_KEY})


def _fails(name: str, problem: str, action: object, *answers: int, **shown: object) -> None:
    """Add a fault by which COS does so with every request, which clients get as one of ``answers``."""

    @_fault(name, problem, **shown)
    async def _(scene: Scene) -> AsyncIterator[None]:
        scene.refuse(action)
        assert set(await scene.ask("/i/a", "/i/b")) <= set(answers)
        yield
        scene.cos.faults.clear()


_fails(
    "COS denies every object",
    "cos_refuses",
    Refuse(status=403, code="AccessDenied"),
    502,
    check=(f"fail  cos {BUCKET}: COS answered 403 AccessDenied",),
    advice="allow them GetObject",
)
_fails(
    "bucket of another region",
    "cos_errors",
    Refuse(status=404, code="NoSuchBucket"),
    502,
    check=(f"fail  cos {BUCKET}: COS answered 404 NoSuchBucket", "cos.region"),
    advice="cos.region",
)
_fails(
    "COS throttles by 429",
    "cos_errors",
    Refuse(status=429, code="TooManyRequests"),
    503,
    check=("fewer requests",),
    remedy="fewer requests",
    advice="COS asks for fewer requests",
)
_fails(
    "COS throttles by SlowDown",
    "cos_errors",
    Refuse(status=503, code="SlowDown"),
    503,
    check=("fewer requests",),
    advice="COS asks for fewer requests",
)
_fails("COS is unavailable", "cos_errors", Refuse(status=503, code="ServiceUnavailable"), 502, 503, advice="COS")
_fails("bodies are cut", "cos_errors", Cut(at=1), 502, headline="^COS fails: body_lost")
_fails(
    "COS does not answer",
    "cos_errors",
    Reset(),
    502,
    light=("cos", "down", "ConnectionLost"),
    advice="the network from here to COS",
    remedy="the network from here to COS",
    headline="^COS fails: no_answer",
)


def _started_with(name: str, domain: str, *check: str) -> None:
    """Add a fault of the domain of ``cos``, which a reload does not change."""

    @_fault(name, "cos_errors", light=("cos", "down", ""), check=check, advice="cos.domain")
    async def _(scene: Scene) -> AsyncIterator[None]:
        await scene.start(cos={"domain": domain})
        assert set(await scene.ask("/i/a", "/i/b")) <= {502, 504}
        yield
        await scene.start()


_started_with("no such host", "no-such-host.invalid", "no answer at http://no-such-host.invalid")
_started_with("a port where nobody listens", f"127.0.0.1:{free_port()}")


@_fault(
    "a certificate that is not trusted",
    "cos_errors",
    light=("cos", "down", "certificate"),
    check=("its certificate is not trusted here",),
    advice="its certificate is not trusted here",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    """A certificate that nobody here trusts, as that of a proxy which intercepts TLS."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    context = server_context(*write_certificate(scene.folder, "127.0.0.1"))
    async with await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context) as server:
        await scene.start(cos={"scheme": "https", "domain": f"127.0.0.1:{server.sockets[0].getsockname()[1]}"})
        assert set(await scene.ask("/i/a", "/i/b")) <= {502, 504}
        yield
        await scene.start()


@_fault(
    "objects that are no pictures",
    "objects_unprocessable",
    headline="^COS cannot process some objects: InvalidImageFormat",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    assert await scene.ask("/i/a?style=thumb", "/i/b?style=thumb") == [200] * 2
    yield


@_fault(
    "a bucket answers in seconds",
    "bucket_slow",
    headline=rf"^[3-9] of \d+ answers of the bucket {BUCKET} took more than a second to begin\.",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    scene.valve.close()
    asked = asyncio.create_task(scene.ask("/i/a", "/i/b", "/i/c"))
    for image_id in "abc":
        await until_asked(scene.cos, f"objects/{image_id}.png")
    began = time.monotonic()
    await until(lambda: time.monotonic() - began > 1.1)
    scene.valve.open()
    assert await asked == [200] * 3
    yield


@_fault(
    "objects deleted",
    "objects_missing",
    advice="names an object that is not in the bucket",
    headline="^Rows name objects that COS does not have: NoSuchKey",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    for image_id in ("a", "b"):
        scene.cos.store.delete(BUCKET, f"objects/{image_id}.png")
    assert await scene.ask("/i/a", "/i/b") == [404] * 2
    yield
    for image_id in ("a", "b"):
        await scene.images.add(image_id)


@_fault(
    "one bucket of two denies",
    "cos_refuses",
    prepare=_another_bucket,
    light=("cos", "degraded", OTHER),
    check=(f"fail  cos {OTHER}: COS answered 403 AccessDenied",),
    advice="allow them GetObject",
    works="/i/dog",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    scene.kept.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), times=None))
    assert await scene.ask("/i/dog", "/i/dog", "/i/a") == [502, 502, 200]
    yield
    scene.kept.faults.clear()


@_fault("clock ten minutes slow", "clock_differs", prepare=_clock_ahead, check=("s slow", "synchronize it (NTP)"))
async def _(scene: Scene) -> AsyncIterator[None]:
    scene.kept = 600.0
    yield
    scene.kept = 0.0


@_fault("credentials end soon", "credentials_end", prepare=_from_file)
async def _(scene: Scene) -> AsyncIterator[None]:
    await _write_credentials(scene, 100)
    yield
    await _write_credentials(scene, 3600)


@_fault(
    "file of credentials broken",
    "credentials_not_refreshed",
    prepare=_from_file,
    check=("fail  credentials: source file: ", "the program that writes that file"),
    remedy="the program that writes that file",
    headline="^source file: refresh failed: the file is not a mapping",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    await asyncio.to_thread(_replace, scene.folder / "cos.json", "broken")
    yield
    await _write_credentials(scene, 3600)


@_fault(
    "credentials ended",
    "credentials_ended",
    prepare=_from_file,
    light=("credentials", "down", "0 s are left of the credentials from file"),
    check=("fail  credentials: source file: 0 s are left",),
    remedy="the program that writes that file",
)
async def _(scene: Scene) -> AsyncIterator[None]:
    await _write_credentials(scene, -1)
    await scene.start()
    assert await scene.ask("/i/a") == [503]
    yield
    await _write_credentials(scene, 3600)


@_fault(
    "metadata service away",
    "cos_refuses",
    prepare=_of_instance,
    light=("cos", "degraded", "InvalidAccessKeyId"),
    check=("the metadata service: status 500", "metadata_url"),
)
async def _(scene: Scene) -> AsyncIterator[None]:
    scene.kept.faults.add(CredentialFault(kind="internal_error", times=None))
    scene.kept.revoke()
    assert set(await scene.ask("/i/a", "/i/b")) <= {502, 503}
    yield
    scene.kept.faults.clear()
