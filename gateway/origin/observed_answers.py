"""What the gateway learns from COS's answers to the requests of clients: metrics, COS's clock, refused signatures."""

import time
from collections.abc import Callable, Collection, Mapping

from gateway.metrics.collectors import Metrics
from gateway.origin.answer_clock import FirstAnswer
from gateway.origin.cos_error import CREDENTIAL_CODES, CosError
from gateway.origin.error_counts import NO_ANSWER, NO_CODE, TIMEOUT, OriginErrorCounts
from gateway.origin.signature_verdicts import SignatureVerdicts


class ObservedAnswers:
    """Counts answers, and keeps what others read from them.

    buckets: keep their own label in the metric of errors, even if many others fail.
    credentials_refused: gets the bucket and the URL when COS rejects the credentials of a URL.
    first_answers: an answer of each bucket, for ``AnswerClock``, which empties it.
    verdicts: for ``BucketsProbe``, which takes them.
    """

    def __init__(
        self,
        metrics: Metrics,
        buckets: Collection[str] = (),
        credentials_refused: Callable[[str, str], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._errors = OriginErrorCounts(metrics.origin_errors, metrics.origin_bucket_requests, buckets)
        self._credentials_refused = credentials_refused
        self._monotonic = monotonic
        self.first_answers: dict[str, FirstAnswer] = {}
        self.verdicts = SignatureVerdicts()

    def answered(self, bucket: str, status: int, headers: Mapping[str, str]) -> None:
        """Count an answer of COS."""
        self._count(str(status), bucket)
        if bucket not in self.first_answers:
            self.first_answers[bucket] = FirstAnswer(headers, self._monotonic())

    def unanswered(self, bucket: str, *, is_timeout: bool) -> None:
        """Count a request that COS did not answer."""
        self._count("timeout" if is_timeout else "error", bucket)
        self._errors.add(bucket, TIMEOUT if is_timeout else NO_ANSWER)

    def refused(self, bucket: str, url: str, error: CosError) -> None:
        """Note COS's error in answer to a request for ``url``."""
        self._errors.add(bucket, error.code or NO_CODE)
        self.verdicts.add(bucket, error)
        if error.code in CREDENTIAL_CODES and self._credentials_refused is not None:
            self._credentials_refused(bucket, url)

    def retried(self) -> None:
        """Count a retry."""
        self._metrics.origin_retries.inc()

    def _count(self, status: str, bucket: str) -> None:
        self._metrics.origin_requests.add((status,))
        if bucket in self._errors.buckets:
            self._metrics.origin_bucket_requests.add((bucket,))
        else:
            self._errors.request(bucket)
