"""Explain step: the caller, and whether the caller may see the image."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import unquote

import yarl
from multidict import CIMultiDict

from gateway.access.caller import Caller
from gateway.access.identity import Authenticator
from gateway.access.policy import permit
from gateway.access.signed_links import BadLink, SignedLink, SignedLinks, short_address
from gateway.catalog.record import MOST_GRANTS, ImageRecord
from gateway.errors import DENIALS, InvalidAlias
from gateway.explain.explanation import Facts
from gateway.presign.signer import SignedImage
from gateway.presign.style_variants import Audience
from gateway.urls.aliases import PATH, alias_in

_MOST_KILLS = 100  # earlier counts of killed links that a link is tried with
_LASTS = 60  # seconds, of a link that nobody gets
_PATHS = ("/i/{}", "/api/v1/images/{}/proxy", "/api/v1/images/{}/access")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Whose request is explained: the holder of a token or link (with or without host), a user by id, or anonymous."""

    token: str | None = None
    link: str | None = None
    user: str | None = None


def caller_of(credentials: Credentials, authenticator: Authenticator) -> tuple[Caller, Facts]:
    """Return the caller as a request with the credentials has it, and facts about the credentials."""
    if credentials.user is not None:
        return Caller(credentials.user), {"credential": "none: taken to be this user", "user": credentials.user}
    if credentials.token is not None:
        return _by_token(credentials.token, authenticator)
    if credentials.link is not None:
        return _by_link(credentials.link, authenticator.links)
    return Caller(), {"credential": "none", "user": None}


def sender_of(caller: Caller, image_id: str, alias: str | None) -> Caller:
    """Return the caller of a request for the image: a link for another address is no link of this one."""
    if caller.link is None or _is_for(caller.link, image_id, alias):
        return caller
    return replace(caller, link=caller.link._replace(path=short_address(image_id)))


def why_seen(sender: Caller, image: SignedImage, now: float) -> Facts:
    """Return that the caller may see the image, and the reason."""
    if image.public:
        return {"may_view": True, "why": "the image is public" if image.record.public else "the style is public"}
    permission = permit(lambda: sender, image.record, Audience.VIEWERS, now)
    ends = "" if permission.until is None else f" until {datetime.fromtimestamp(permission.until, UTC)}"
    return {"may_view": True, "why": f"{permission.reason}{ends}"}


def why_hidden(caller: Caller, record: ImageRecord, now: float) -> Facts:
    """Return that the caller may not see the image, and the reason."""
    if _may_view(sender_of(caller, record.image_id, record.alias), record, now):
        reason = "image_variants.originals is owner: others get styles alone"
    elif caller.rejected:
        reason = f"the credentials are not valid: {caller.reason}"
    elif caller.link is not None:
        reason = _why_no_link(caller.link, record)
    elif caller.user is not None:
        owner = f"the owner is {record.owner}" if record.owner is not None else "it has no owner"
        reason = f"the image is private, and {caller.user} is not the owner: {owner}"
        if record.viewers is not None and record.viewers.is_complete:
            reason += ", and no grant is for the user or a group of the user"
        elif record.viewers is not None:
            reason += f"; it has more than {MOST_GRANTS} grants, and so counts as having none"
    else:
        reason = "the image is private, and the request has no valid credentials"
    return {"may_view": False, "why": reason}


def _may_view(caller: Caller, record: ImageRecord, now: float) -> bool:
    """Return whether the caller may view the image in some rendition."""
    try:
        permit(lambda: caller, record, Audience.VIEWERS, now)
    except DENIALS:
        return False
    return True


def _by_token(token: str, authenticator: Authenticator) -> tuple[Caller, Facts]:
    caller = authenticator.identify(CIMultiDict({"Authorization": f"Bearer {token}"}))
    facts: Facts = {"credential": "token", "recognized": not caller.rejected}
    if authenticator.tokens is None and not caller.rejected:
        return caller, facts | {"recognized": False, "why_not": "access.jwt is not configured: tokens are ignored"}
    return caller, facts | ({"why_not": caller.reason} if caller.rejected else {"user": caller.user})


def _by_link(text: str, links: SignedLinks | None) -> tuple[Caller, Facts]:
    facts: Facts = {"credential": "link"}
    if links is None:
        return Caller(), facts | {"recognized": False, "why_not": "access.signed_links is not configured"}
    try:
        address = yarl.URL(text, encoded=True)
        link = links.read(address.raw_path, address.query)
    except (BadLink, ValueError) as error:
        reason = str(error) if isinstance(error, BadLink) else "it is not an address"
        return Caller(rejected=True, reason=reason), facts | {"recognized": False, "why_not": reason}
    if link is None:
        reason = "the address has none of kid, exp and sig"
        return Caller(), facts | {"recognized": False, "why_not": reason}
    return Caller(link=link), facts | {"recognized": True, "path": link.path, "expires_at": link.expires_at}


def permitted(record: ImageRecord, links: SignedLinks | None) -> Caller:
    """Return a caller who may see the image: its owner, or the holder of a link if it has none and links are made."""
    if record.owner is not None or links is None:
        return Caller(record.owner)
    path = short_address(record.image_id)
    address, _ = links.make(path, expires_in=_LASTS, links_killed=record.links_killed)
    return Caller(link=links.read(path, yarl.URL(address, encoded=True).query))


def _why_no_link(link: SignedLink, record: ImageRecord) -> str:
    if not _is_for(link, record.image_id, record.alias):
        return f"the link is for another address: {link.path}"
    killed = record.links_killed
    if killed is None:
        return "it is not known how often the links of the image were killed"
    if any(link.is_valid_for(earlier) for earlier in range(max(0, killed - _MOST_KILLS), killed)):
        return f"the image's links have been killed since the link was made ({killed} times in all)"
    return "the signature is not valid: signed with another key, for another time, or altered"


def _is_for(link: SignedLink, image_id: str, alias: str | None) -> bool:
    """Return whether the link is for an address of the image. In a request, the link's path is the request's own."""
    if alias is not None and link.path.startswith(PATH):
        with suppress(InvalidAlias):
            return alias_in(link.path) == alias
    return unquote(link.path) in {path.format(image_id) for path in _PATHS}
