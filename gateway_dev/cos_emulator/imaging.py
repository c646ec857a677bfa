"""Image processing: applies rules to objects in threads, and keeps the latest results."""

import asyncio
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from gateway_dev.cos_emulator.content import MemoryContent
from gateway_dev.cos_emulator.image_decoding import check_file, report
from gateway_dev.cos_emulator.image_pixels import apply
from gateway_dev.cos_emulator.image_rules import Rule
from gateway_dev.cos_emulator.store import StoredObject

CACHE_BYTES = 64 * 1024 * 1024

_Key = tuple[str, Rule]
"""MD5 of the original, which names its version, and the rule."""
_Result = tuple[bytes, str]
"""Bytes and their content type."""


class ImageProcessor:
    """Processor of images in threads, one image at a time for each core. Close it at the end.

    The latest results are kept, up to ``cache_bytes``: a page of pictures asks for the same results again and again.
    """

    def __init__(self, *, cache_bytes: int = CACHE_BYTES) -> None:
        self.cached_bytes = 0
        self.processed = 0
        """Number of times that pixels were processed, not counting answers from the cache."""
        self._cache_bytes = cache_bytes
        self._results: OrderedDict[_Key, _Result] = OrderedDict()
        self._running: dict[_Key, asyncio.Future[_Result]] = {}
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="cos-emulator-images")

    async def close(self) -> None:
        """Drop what is waiting and wait for what is being processed."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def process(self, stored: StoredObject, rule: Rule) -> StoredObject:
        """Return the result as an object with the headers of the original, another ETag and no CRC.

        Raises Refusal if there is none, OSError if the original cannot be read.
        """
        check_file(stored.content.size)
        key = ((await stored.content.digests()).md5, rule)
        result = self._results.get(key)
        if result is None:
            original = b"".join([piece async for piece in stored.content.pieces(0, stored.content.size)])
            # Requests for the same result wait for the same processing, which outlives those that are cancelled.
            result = await asyncio.shield(self._running.get(key) or self._start(key, original))
        else:
            self._results.move_to_end(key)
        content, content_type = result
        return replace(stored, content=MemoryContent(content), content_type=content_type, etag=None, has_crc=False)

    def _start(self, key: _Key, original: bytes) -> "asyncio.Future[_Result]":
        self.processed += 1
        loop = asyncio.get_running_loop()
        running = self._running[key] = loop.run_in_executor(self._threads, _result, original, key[1])
        running.add_done_callback(partial(self._finish, key))
        return running

    def _finish(self, key: _Key, done: "asyncio.Future[_Result]") -> None:
        del self._running[key]
        if done.cancelled() or done.exception() is not None:
            return
        self._results[key] = done.result()
        self.cached_bytes += len(done.result()[0])
        while self.cached_bytes > self._cache_bytes:
            _, (evicted, _) = self._results.popitem(last=False)
            self.cached_bytes -= len(evicted)


def _result(original: bytes, rule: Rule) -> _Result:
    data, content_type = original, ""
    if not replace(rule, report=None).is_empty:
        data, content_type = apply(original, rule)
    if rule.report is not None:
        data, content_type = report(data, rule.report), "application/json"
    return data, content_type
