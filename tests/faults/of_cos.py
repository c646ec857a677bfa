"""Faults of COS, of the way to it, and of its credentials."""

import asyncio
import json
import time
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
from tests.faults.scene import Injected, Scene, Sections, Step, nothing
from tests.stories.test_credential_sources import ENTRY_KEY, cvm_role, services_of
from tests.waiting import until

OTHER: Final = "other-1250000000"


async def _clear(scene: Scene) -> None:
    scene.cos.faults.clear()


def _refused(status: int, code: str, *answers: int) -> Step:
    """Return what lets COS answer every request with an error, which clients get as one of ``answers``."""

    async def inject(scene: Scene) -> None:
        scene.refuse(Refuse(status=status, code=code))
        assert set(await scene.ask("/i/a", "/i/b")) <= set(answers)

    return inject


async def _half_rotated(scene: Scene) -> None:
    assert await scene.ask("/i/c") == [200]
    await scene.gateway.reload(cos={"secret_key": "another-secret-key"})
    assert await scene.ask("/i/b", "/i/c") == [502, 200]


async def _rotated_back(scene: Scene) -> None:
    await scene.gateway.reload(cos={"secret_key": SECRET_KEY})


async def _cut(scene: Scene) -> None:
    scene.refuse(Cut(at=1))
    assert set(await scene.ask("/i/a", "/i/b")) == {502}


async def _no_pictures(scene: Scene) -> None:
    assert await scene.ask("/i/a?style=thumb", "/i/b?style=thumb") == [200] * 2


async def _slow(scene: Scene) -> None:
    scene.valve.close()
    began = time.monotonic()
    asked = asyncio.create_task(scene.ask("/i/a", "/i/b", "/i/c"))
    await until(lambda: time.monotonic() - began > 1.1)
    scene.valve.open()
    assert await asked == [200] * 3


async def _no_answer(scene: Scene) -> None:
    scene.refuse(Reset())
    assert set(await scene.ask("/i/a", "/i/b")) == {502}


async def _lose_object(scene: Scene) -> None:
    for image_id in ("a", "b"):
        scene.cos.store.delete(BUCKET, f"objects/{image_id}.png")
    assert await scene.ask("/i/a", "/i/b") == [404] * 2


async def _find_object(scene: Scene) -> None:
    for image_id in ("a", "b"):
        await scene.images.add(image_id)


def _started_with(**settings: object) -> Step:
    """Return what starts the gateway again with other settings of ``cos``, which a reload does not change."""

    async def inject(scene: Scene) -> None:
        await scene.start(cos=settings)
        assert set(await scene.ask("/i/a", "/i/b")) <= {502, 504}

    return inject


async def _start_again(scene: Scene) -> None:
    await scene.start()


async def _with_certificate(scene: Scene) -> None:
    """A certificate that nobody here trusts, as that of a proxy which intercepts TLS."""
    context = server_context(*write_certificate(scene.folder, "127.0.0.1"))
    server = await asyncio.start_server(_hang_up, "127.0.0.1", 0, ssl=context)
    await scene.stack.enter_async_context(server)
    port = server.sockets[0].getsockname()[1]
    await _started_with(scheme="https", domain=f"127.0.0.1:{port}")(scene)


async def _hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _clock_ahead(scene: Scene) -> Sections:
    scene.kept = 0.0
    credentials = {SECRET_ID: Credential(SECRET_KEY)}
    elsewhen = CosEmulator(
        scene.cos.store, credentials, default_bucket=BUCKET, now=lambda: time.time() + float(scene.kept)
    )
    cos = await scene.stack.enter_async_context(elsewhen)
    scene.valve.lead_to(cos.port)
    return {}


def _move_clock(seconds: float) -> Step:
    async def inject(scene: Scene) -> None:
        scene.kept = seconds

    return inject


async def _another_bucket(scene: Scene) -> Sections:
    store = ObjectStore()
    store.create_bucket(OTHER)
    store.put(OTHER, "dog.png", b"bytes of an image", content_type="image/png")
    other = CosEmulator(store, {SECRET_ID: Credential(SECRET_KEY)}, default_bucket=OTHER)
    scene.kept = await scene.stack.enter_async_context(other)
    await scene.images.add_row(ImageRow("dog", None, "dog.png", bucket=OTHER, public=True))
    return {"cos": {"buckets": {OTHER: {"domain": f"127.0.0.1:{other.port}"}}}}


async def _deny_other(scene: Scene) -> None:
    scene.kept.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), times=None))
    assert await scene.ask("/i/dog", "/i/dog", "/i/a") == [502, 502, 200]


async def _recover(scene: Scene) -> None:
    scene.kept.faults.clear()


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


async def _end_soon(scene: Scene) -> None:
    await _write_credentials(scene, 100)


async def _end_later(scene: Scene) -> None:
    await _write_credentials(scene, 3600)


async def _of_instance(scene: Scene) -> Sections:
    scene.kept = await scene.stack.enter_async_context(services_of(scene.cos))
    return cvm_role(scene.kept)


async def _revoke_and_fail(scene: Scene) -> None:
    scene.kept.faults.add(CredentialFault(kind="internal_error", times=None))
    scene.kept.revoke()
    assert set(await scene.ask("/i/a", "/i/b")) <= {502, 503}


OF_COS: Final = (
    Injected(
        "key half rotated",
        "cos_refuses",
        "bad",
        _half_rotated,
        _rotated_back,
        light=("cos", "degraded", "SignatureDoesNotMatch"),
        check=(f"fail  cos {BUCKET}: COS answered 403 SignatureDoesNotMatch",),
        advice="cos.secret_key",
        headline="^COS refuses: SignatureDoesNotMatch since ",
        works="/i/b",
    ),
    Injected(
        "COS denies every object",
        "cos_refuses",
        "bad",
        _refused(403, "AccessDenied", 502),
        _clear,
        check=(f"fail  cos {BUCKET}: COS answered 403 AccessDenied",),
        advice="allow them GetObject",
    ),
    Injected(
        "bucket of another region",
        "cos_errors",
        "bad",
        _refused(404, "NoSuchBucket", 502),
        _clear,
        check=(f"fail  cos {BUCKET}: COS answered 404 NoSuchBucket", "cos.region"),
        advice="cos.region",
    ),
    Injected(
        "COS throttles by 429",
        "cos_errors",
        "bad",
        _refused(429, "TooManyRequests", 503),
        _clear,
        check=("fewer requests",),
        advice="COS asks for fewer requests",
    ),
    Injected(
        "COS throttles by SlowDown",
        "cos_errors",
        "bad",
        _refused(503, "SlowDown", 503),
        _clear,
        check=("fewer requests",),
        advice="COS asks for fewer requests",
    ),
    Injected(
        "COS is unavailable",
        "cos_errors",
        "bad",
        _refused(503, "ServiceUnavailable", 502, 503),
        _clear,
        advice="COS",
    ),
    Injected(
        "bodies are cut",
        "cos_errors",
        "bad",
        _cut,
        _clear,
        headline="^COS fails: bodies break off since ",
    ),
    Injected(
        "COS does not answer",
        "cos_errors",
        "bad",
        _no_answer,
        _clear,
        light=("cos", "down", "ConnectionLost"),
        advice="the network from here to COS",
        headline="^COS fails: no answer since ",
    ),
    Injected(
        "no such host",
        "cos_errors",
        "bad",
        _started_with(domain="no-such-host.invalid"),
        _start_again,
        light=("cos", "down", ""),
        check=("no answer at http://no-such-host.invalid",),
        advice="cos.domain",
    ),
    Injected(
        "a port where nobody listens",
        "cos_errors",
        "bad",
        _started_with(domain=f"127.0.0.1:{free_port()}"),
        _start_again,
        light=("cos", "down", ""),
        advice="cos.domain",
    ),
    Injected(
        "a certificate that is not trusted",
        "cos_errors",
        "bad",
        _with_certificate,
        _start_again,
        light=("cos", "down", "certificate"),
        check=("its certificate is not trusted here",),
        advice="its certificate is not trusted here",
    ),
    Injected(
        "objects that are no pictures",
        "objects_unprocessable",
        "warning",
        _no_pictures,
        nothing,
        headline="^COS cannot process some objects: InvalidImageFormat since ",
    ),
    Injected(
        "a bucket answers in seconds",
        "bucket_slow",
        "warning",
        _slow,
        nothing,
        headline=rf"^3 of 3 answers of the bucket {BUCKET} took more than a second to begin\. since ",
    ),
    Injected(
        "objects deleted",
        "objects_missing",
        "warning",
        _lose_object,
        _find_object,
        advice="names an object that is not in the bucket",
        headline="^Rows name objects that COS does not have: NoSuchKey since ",
    ),
    Injected(
        "one bucket of two denies",
        "cos_refuses",
        "bad",
        _deny_other,
        _recover,
        prepare=_another_bucket,
        light=("cos", "degraded", OTHER),
        check=(f"fail  cos {OTHER}: COS answered 403 AccessDenied",),
        advice="allow them GetObject",
        works="/i/dog",
    ),
    Injected(
        "clock ten minutes slow",
        "clock_differs",
        "warning",
        _move_clock(600),
        _move_clock(0),
        prepare=_clock_ahead,
        check=("s slow", "synchronize it (NTP)"),
    ),
    Injected(
        "credentials end soon",
        "credentials_end",
        "warning",
        _end_soon,
        _end_later,
        prepare=_from_file,
    ),
    Injected(
        "metadata service away",
        "cos_refuses",
        "bad",
        _revoke_and_fail,
        _recover,
        light=("cos", "degraded", "InvalidAccessKeyId"),
        check=("the metadata service: status 500", "metadata_url"),
        prepare=_of_instance,
    ),
)
