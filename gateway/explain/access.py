"""Explain step: the caller, and whether the caller may see the image."""

from dataclasses import dataclass
from urllib.parse import unquote

import yarl

from gateway.access.identity import Authenticator, Caller
from gateway.access.policy import check_original, check_view, refusal
from gateway.access.signed_links import BadLink, SignedLink, SignedLinks
from gateway.catalog.record import ImageRecord
from gateway.errors import GatewayError
from gateway.explain.explanation import Facts
from gateway.presign.renditions import Renditions
from gateway.presign.signed_image import SignedImage

_MOST_KILLS = 100  # earlier counts of killed links that a link is tried with
_PATHS = ("/i/{}", "/api/v1/images/{}/proxy", "/api/v1/images/{}/access")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What to ask with: at most one of a token, a link (with or without host) and a user's id."""

    token: str | None = None
    link: str | None = None
    user: str | None = None


class AccessStep:
    """Authenticates credentials like those of a request, with the reason of a refusal."""

    def __init__(
        self,
        authenticator: Authenticator,
        links: SignedLinks | None,
        renditions: Renditions,
    ) -> None:
        self._authenticator = authenticator
        self._links = links
        self._renditions = renditions

    def caller_of(self, credentials: Credentials) -> tuple[Caller, Facts]:
        """Return the caller, and facts about the credentials."""
        if credentials.user is not None:
            return Caller(credentials.user), {"credential": "none: taken to be this user", "user": credentials.user}
        if credentials.token is not None:
            return self._by_token(credentials.token)
        if credentials.link is not None:
            return self._by_link(credentials.link)
        return Caller(), {"credential": "none", "user": None}

    def check(self, caller: Caller, image: SignedImage) -> tuple[GatewayError | None, Facts]:
        """Return the error that the caller gets (None if they may see the image or its rendition), and the reason."""
        record = image.record
        try:
            if not image.public:
                if caller.link is not None and not _is_for(caller.link, record):
                    raise refusal(caller)
                check_view(caller, record)
        except GatewayError as error:
            return error, {"may_view": False, "why": _why_not(caller, record)}
        if self._renditions.originals_for_owner and image.rendition is None:
            try:
                check_original(caller, record)
            except GatewayError as error:
                return error, {"may_view": False, "why": "image_variants.originals is owner: others get styles alone"}
        why = "the style is public" if image.public and not record.public else _why(caller, record)
        return None, {"may_view": True, "why": why}

    def _by_token(self, token: str) -> tuple[Caller, Facts]:
        caller = self._authenticator.identify({"Authorization": f"Bearer {token}"})
        facts: Facts = {"credential": "token", "recognized": not caller.rejected}
        if not self._authenticator.has_tokens and not caller.rejected:
            return caller, facts | {"recognized": False, "why_not": "access.jwt is not configured: tokens are ignored"}
        return caller, facts | ({"why_not": caller.reason} if caller.rejected else {"user": caller.user})

    def _by_link(self, text: str) -> tuple[Caller, Facts]:
        facts: Facts = {"credential": "link"}
        if self._links is None:
            return Caller(), facts | {"recognized": False, "why_not": "access.signed_links is not configured"}
        try:
            address = yarl.URL(text, encoded=True)
            link = self._links.read(address.raw_path, address.query)
        except (BadLink, ValueError) as error:
            reason = str(error) if isinstance(error, BadLink) else "it is not an address"
            return Caller(rejected=True, reason=reason), facts | {"recognized": False, "why_not": reason}
        if link is None:
            reason = "the address has none of kid, exp and sig"
            return Caller(), facts | {"recognized": False, "why_not": reason}
        return Caller(link=link), facts | {"recognized": True, "path": link.path, "expires_at": link.expires_at}


def _why(caller: Caller, record: ImageRecord) -> str:
    if record.public:
        return "the image is public"
    return "the link is valid" if caller.link is not None else f"{caller.user} is the owner"


def _why_not(caller: Caller, record: ImageRecord) -> str:
    if caller.rejected:
        return f"the credentials are not valid: {caller.reason}"
    if caller.link is not None:
        return _why_no_link(caller.link, record)
    if caller.user is not None:
        owner = f"the owner is {record.owner}" if record.owner is not None else "it has no owner"
        return f"the image is private, and {caller.user} is not the owner: {owner}"
    return "the image is private, and the request has no valid credentials"


def _why_no_link(link: SignedLink, record: ImageRecord) -> str:
    if not _is_for(link, record):
        return f"the link is for another address: {link.path}"
    killed = record.links_killed
    if killed is None:
        return "it is not known how often the links of the image were killed"
    if any(link.is_valid_for(earlier) for earlier in range(max(0, killed - _MOST_KILLS), killed)):
        return f"the image's links have been killed since the link was made ({killed} times in all)"
    return "the signature is not valid: signed with another key, for another time, or altered"


def _is_for(link: SignedLink, record: ImageRecord) -> bool:
    """Return whether the link is for an address of the image. In a request, the link's path is the request's own."""
    return unquote(link.path) in {path.format(record.image_id) for path in _PATHS}
