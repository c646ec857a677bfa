"""The metrics of requests to COS, and of the bytes of images, from there or from memory."""

from gateway.metrics.registry import CountedElsewhere, Registry


class OriginMetrics:
    """Metrics of requests to COS, failures by bucket, renditions, bytes for clients, and the memory for bodies."""

    def __init__(self, registry: Registry) -> None:
        self.sent_bytes = registry.loop_counter(
            "sent_bytes",
            "Bytes of image bodies sent to clients, by where they were when the request came: 'memory' or 'cos'.",
            ("source",),
            ("memory", "cos"),
        )
        registry.register(
            CountedElsewhere(
                "image_gateway_response_bytes",
                "Bytes of image bodies sent to clients.",
                lambda: sum(self.sent_bytes.totals().values()),
            )
        )
        self.origin_requests = registry.loop_counter(
            "origin_requests",
            "Requests to COS by status; 'timeout' and 'error' if COS did not respond.",
            ("status",),
            ("200", "403", "404", "429", "500", "503", "timeout", "error"),
        )
        self.origin_bucket_requests = registry.loop_counter(
            "origin_bucket_requests", "Requests to COS by bucket, with or without an answer.", ("bucket",)
        )
        self.origin_slow = registry.loop_counter(
            "origin_slow",
            "Answers of COS by bucket whose header took more than a second; images that COS processes do not count.",
            ("bucket",),
        )
        self.origin_errors = registry.loop_counter(
            "origin_errors",
            "Failures of COS by bucket and by COS's error code; 'none' without a code, 'timeout', 'no_answer', and "
            "'body_lost' for a body of which the rest could not be had.",
            ("bucket", "code"),
        )
        self.origin_retries = registry.counter("origin_retries", "Requests to COS repeated before the first byte.")
        self.origin_resumes = registry.counter(
            "origin_resumes", "Bodies resumed with a new request after COS broke off."
        )
        self.variants = registry.counter(
            "variants",
            "Renditions made by COS, and requests for one answered by another: COS refused it, or too many were new.",
            ("style", "format", "result"),
        )
        self.memory_cache_bytes = registry.gauge("memory_cache_bytes", "Bytes of images held in memory.")
        self.coalesced_requests = registry.coalesced_requests
