"""The published algorithm against golden vectors: A from doc 7778, H by the Python SDK with its clock at 1700000000."""

from dataclasses import dataclass, field, replace

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway_dev.cos_emulator.request import CosRequest, parse_request
from gateway_dev.cos_emulator.signature import Authorization, MalformedAuthorization, find_authorization, matches, sign


@dataclass(frozen=True)
class Vector:
    name: str
    secret_key: str
    method: str
    path: str
    time: str
    signature: str
    headers: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    signed_params: tuple[str, ...] = ()

    def request(self) -> CosRequest:
        host = self.headers.get("Host", "")
        headers = CIMultiDictProxy(CIMultiDict(self.headers))
        return CosRequest(self.method, host, self.path, tuple(self.params.items()), headers)

    def authorization(self) -> Authorization:
        header_names = tuple(name.lower() for name in self.headers)
        return Authorization(
            "AKID", self.time, self.time, header_names, self.signed_params or tuple(self.params), self.signature
        )


DOC_KEY = "BQYIM75p8x0iWVFSIgqEKwFprpRSVHlz"
DOC_HOST = "examplebucket-1250000000.cos.ap-beijing.myqcloud.com"
SDK_HOST = {"Host": "b-1250000000.cos.ap-beijing.myqcloud.com"}
SDK_TIME = "1699999940;1700000300"

VECTORS = [
    Vector(
        "A: doc 7778, download",
        DOC_KEY,
        "GET",
        "/exampleobject(腾讯云)",
        "1557989753;1557996953",
        "01681b8c9d798a678e43b685a9f1bba0f6c0e012",
        headers={"Date": "Thu, 16 May 2019 06:55:53 GMT", "Host": DOC_HOST},
        params={"response-content-type": "application/octet-stream", "response-cache-control": "max-age=600"},
    ),
    Vector(
        "H: Python SDK, image processing",
        "SKEXAMPLE",
        "GET",
        "/a.png",
        SDK_TIME,
        "d41ec3742071d91efb7f8feddcbf0bb1d420fd4c",
        headers=SDK_HOST,
        params={"imageMogr2/thumbnail/!50p": ""},
        signed_params=("imagemogr2%2fthumbnail%2f%2150p",),
    ),
]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_golden_vectors_verify(vector: Vector) -> None:
    signed = sign(vector.request(), vector.authorization(), vector.secret_key)
    assert signed.signature == vector.signature
    assert matches(signed, vector.authorization())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
@pytest.mark.parametrize(
    "change",
    [{"method": "HEAD"}, {"path": "/other"}, {"time": "1;2"}, {"secret_key": "other"}],
    ids=["method", "path", "time", "secret"],
)
def test_golden_vectors_do_not_verify_for_anything_else(vector: Vector, change: dict[str, str]) -> None:
    changed = replace(vector, **change)  # type: ignore[arg-type]  # every changed field is a str
    assert not matches(sign(changed.request(), changed.authorization(), changed.secret_key), vector.authorization())


def test_the_signed_texts_equal_those_of_doc_7778() -> None:
    signed = sign(VECTORS[0].request(), VECTORS[0].authorization(), DOC_KEY)
    assert signed.string_to_sign == "sha1\n1557989753;1557996953\n54ecfe22f59d3514fdc764b87a32d8133ea611e6\n"
    assert signed.http_string == (
        "get\n/exampleobject(腾讯云)\n"
        "response-cache-control=max-age%3D600&response-content-type=application%2Foctet-stream\n"
        f"date=Thu%2C%2016%20May%202019%2006%3A55%3A53%20GMT&host={DOC_HOST}\n"
    )


def test_a_repeated_parameter_is_signed_with_its_values_sorted() -> None:
    request = CosRequest("GET", "h", "/k", (("tag", "b"), ("tag", "a"), ("other", "1")))
    authorization = Authorization("AKID", "1;2", "1;2", (), ("tag", "tag"), "")
    assert sign(request, authorization, "k").http_string == "get\n/k\ntag=a&tag=b\n\n"


PARSED_FROM = {
    "q-sign-algorithm": "sha1",
    "q-ak": "AKID",
    "q-sign-time": "10;20",
    "q-key-time": "10;20",
    "q-header-list": "host;range",
    "q-url-param-list": "imagemogr2%2fthumbnail%2f%2150p",
    "q-signature": "abc",
}
PARSED = Authorization("AKID", "10;20", "10;20", ("host", "range"), ("imagemogr2%2fthumbnail%2f%2150p",), "abc")
HEADER_FORM = "&".join(f"{name}={value}" for name, value in PARSED_FROM.items())


@pytest.mark.parametrize(
    ("target", "header"),
    [
        ("/k", HEADER_FORM),
        ("/k?" + HEADER_FORM.replace("%", "%25").replace(";", "%3B"), None),
        ("/k?" + HEADER_FORM.replace("%", "%25"), None),
        ("/k?x=1&sign=" + HEADER_FORM.replace("%", "%25").replace("&", "%26").replace("=", "%3D"), None),
    ],
    ids=["Authorization header", "q-* parameters", "raw semicolons, as the console writes them", "sign= parameter"],
)
def test_a_signature_is_found_in_each_place(target: str, header: str | None) -> None:
    headers = CIMultiDictProxy(CIMultiDict({"Authorization": header} if header else {}))
    found = find_authorization(parse_request("GET", target, headers))
    assert found == PARSED
    assert found.window == (10, 20)


@pytest.mark.parametrize("missing", PARSED_FROM)
def test_the_error_of_an_incomplete_signature_names_the_missing_field(missing: str) -> None:
    query = tuple((name, value) for name, value in PARSED_FROM.items() if name != missing)
    with pytest.raises(MalformedAuthorization, match=f"{missing} is missing"):
        find_authorization(CosRequest("GET", "h", "/k", query))


@pytest.mark.parametrize("time", ["", "10", "10;", "10;20.5", "-10;20", "٣;٤", "a;b"])
def test_a_window_is_two_decimal_numbers(time: str) -> None:
    with pytest.raises(MalformedAuthorization, match="q-sign-time"):
        _ = replace(PARSED, sign_time=time).window
