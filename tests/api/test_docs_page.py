"""``/docs`` on the admin port."""

from gateway.api.docs_page import page
from gateway.api.openapi.document import document
from tests.conftest import RunningGateway


async def test_every_call_is_on_the_page_and_nothing_comes_from_elsewhere(gateway: RunningGateway) -> None:
    answer = await gateway.get("/docs", admin=True)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self';")
    text = answer.body.decode()
    for path, operations in document()["paths"].items():
        for method in operations.keys() & {"get", "head", "post", "delete"}:
            assert f"<code>{method.upper()} {path}</code>" in text
    assert "src=" not in text
    assert 'href="http' not in text
    assert (await gateway.get("/docs", admin=True, headers={"Host": "evil.example"})).status == 403


def test_text_of_the_description_is_no_markup() -> None:
    hostile = "<script>&"
    operation = {"summary": hostile, "parameters": [{"name": hostile}], "responses": {"200": hostile}}
    made = page(
        {"info": {"title": hostile}, "paths": {hostile: {"get": operation}}, "components": {"schemas": {hostile: {}}}}
    )
    assert "<script>" not in made
    assert made.count("&lt;script&gt;&amp;") == 7
