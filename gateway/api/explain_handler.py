"""`GET /api/v1/monitoring/explain/{id}`: why an image is served or not."""

from aiohttp import web

from gateway.api.json_responses import success
from gateway.catalog.image_id import parse_image_id
from gateway.errors import InvalidRequest
from gateway.explain.access import Credentials
from gateway.explain.explainer import PARAMETERS, Explainer
from gateway.metrics.recent_errors import RecentErrors

# Credentials are sent in header fields, because proxies and browsers record addresses.
TOKEN_FIELD, LINK_FIELD = "X-Explain-Token", "X-Explain-Link"


class ExplainCalls:
    """Explains images to operators."""

    def __init__(self, explainer: Explainer, recent_errors: RecentErrors) -> None:
        self._explainer = explainer
        self._recent_errors = recent_errors

    async def explain(self, request: web.Request) -> web.Response:
        """Explain the image to an anonymous caller, to ``?user=``, or to a caller with credentials in a header field.

        ``style``, ``w``, ``dpr``, ``format`` and ``v`` choose a rendition. ``request``: the id of a failed request.
        """
        image_id = parse_image_id(request.match_info["image_id"])
        credentials = Credentials(
            token=request.headers.get(TOKEN_FIELD), link=request.headers.get(LINK_FIELD), user=request.query.get("user")
        )
        given = (credentials.token, credentials.link, credentials.user)
        if sum(credential is not None for credential in given) > 1:
            raise InvalidRequest(f"give one of user, {TOKEN_FIELD} and {LINK_FIELD}")
        parameters = {name: request.query[name] for name in PARAMETERS if name in request.query}
        explanation = await self._explainer.explain(image_id, credentials, parameters)
        request_id = request.query.get("request")
        failed = {"request": self._recent_errors.request(request_id)} if request_id else {}
        return success({**explanation.as_json(), **failed}, explanation.verdict.reason)
