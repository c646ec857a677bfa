"""A collector of traces: it takes OTLP over HTTP on a real socket."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.serving import serving


@dataclass
class Collector:
    """What arrived; ``status`` and ``body`` answer the next requests, which wait until ``answers`` is set."""

    url: str = ""  # for OTEL_EXPORTER_OTLP_ENDPOINT
    status: int = 200
    body: bytes = b""
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    peers: set[Any] = field(default_factory=set)  # the other ends of the connections

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator[Self]:
        """Run a collector on a free port."""
        collector = cls()
        collector.answers.set()
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/traces", collector._receive)
        async with serving(app, shutdown_timeout=0.1) as collector.url:
            try:
                yield collector
            finally:
                collector.answers.set()

    @property
    def spans(self) -> Sequence[Span]:
        """All spans, in the order in which they ended."""
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def resources(self) -> list[dict[str, Any]]:
        """The attributes of the resources."""
        return [attributes_of(spans.resource) for request in self.requests for spans in request.resource_spans]

    def named(self, name: str) -> list[Span]:
        """The spans of that name."""
        return [span for span in self.spans if span.name == name]

    def text(self) -> str:
        """Everything that arrived as text: names, attributes, events, statuses, states, resources, scopes.

        Ids are left out: their random letters spell any word now and then.
        """
        text = "\n".join(str(MessageToDict(request)) for request in self.requests)
        return re.sub(r"'(traceId|spanId|parentSpanId)': '[\w+/=]*'", "", text)

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.transport is not None:
            self.peers.add(request.transport.get_extra_info("peername"))
        await self.answers.wait()
        if self.status == 200:
            self.requests.append(ExportTraceServiceRequest.FromString(body))
        return web.Response(status=self.status, body=self.body, content_type="application/x-protobuf")


def attributes_of(message: Any) -> dict[str, Any]:
    """The attributes of a span or a resource."""
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in message.attributes}
