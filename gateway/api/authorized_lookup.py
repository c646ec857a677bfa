"""The first half of a request's way: image id -> signed image that this caller may have."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.access.identity import Caller
from gateway.access.policy import check_control, check_owner, check_view, refusal
from gateway.errors import GatewayError, ImageNotFound
from gateway.urls.resolver import Known, Resolved, UrlResolver


class AuthorizedLookup:
    """Resolves images and checks access in one step, so that neither can be had without the other."""

    def __init__(self, resolver: UrlResolver) -> None:
        self._resolver = resolver

    async def view(self, caller: Caller, image_id: str, style: str | None = None) -> Resolved:
        """The image if ``caller`` may see it; raises what the resolver and ``check_view`` raise."""
        return await self.view_for(lambda: caller, image_id, style)

    async def view_for(self, identify: Callable[[], Caller], image_id: str, style: str | None = None) -> Resolved:
        """As ``view``, for a caller who is told only where that matters: nobody need be known for a public image."""
        return self.at_hand(identify, image_id, style) or await self.looked_up(identify, image_id, style)

    def at_hand(self, identify: Callable[[], Caller], image_id: str, style: str | None = None) -> Resolved | None:
        """As ``view_for``, of what can be told without waiting; None: it has to be ``looked_up``."""
        try:
            resolved = self._resolver.at_hand(image_id, style)
        except ImageNotFound as error:
            raise refusal(identify()) from error
        return _visible(resolved, identify) if resolved is not None else None

    async def looked_up(self, identify: Callable[[], Caller], image_id: str, style: str | None = None) -> Resolved:
        """As ``view_for``, of what is not at hand."""
        try:
            resolved = await self._resolver.look_up(image_id, style)
        except ImageNotFound as error:
            raise refusal(identify()) from error
        return _visible(resolved, identify)

    async def view_many(self, caller: Caller, image_ids: list[str]) -> dict[str, Resolved | GatewayError]:
        """For each id the image, or the error that ``view`` would raise."""
        results = await self._resolver.resolve_many(image_ids)
        return {image_id: _checked(caller, result) for image_id, result in results.items()}

    async def control(self, caller: Caller, image_id: str) -> Known:
        """What is known of the image if ``caller`` may renew its URL, see its state and kill its links."""
        known = await self._known(caller, image_id)
        check_control(caller, known.record)
        return known

    async def own(self, caller: Caller, image_id: str) -> Known:
        """What is known of the image if it is the caller's."""
        known = await self._known(caller, image_id)
        check_owner(caller, known.record)
        return known

    async def _known(self, caller: Caller, image_id: str) -> Known:
        with _same_answer_for_bad_credentials(caller):
            return await self._resolver.peek(image_id)


def _checked(caller: Caller, result: Resolved | GatewayError) -> Resolved | GatewayError:
    try:
        with _same_answer_for_bad_credentials(caller):
            if isinstance(result, GatewayError):
                raise result
        check_view(caller, result.image.record)
    except GatewayError as error:
        return error
    return result


@contextmanager
def _same_answer_for_bad_credentials(caller: Caller) -> Iterator[None]:
    """Bad credentials are told so whether the image exists or not."""
    try:
        yield
    except ImageNotFound as error:
        raise refusal(caller) from error


def _visible(resolved: Resolved, identify: Callable[[], Caller]) -> Resolved:
    """The same, if the caller may see it; raises what ``check_view`` raises."""
    if not resolved.image.record.public:
        check_view(identify(), resolved.image.record)
    return resolved
