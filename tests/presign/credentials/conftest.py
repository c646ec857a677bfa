"""The emulated metadata and STS services, and the credentials that they may return."""

from collections.abc import AsyncIterator

import pytest

from gateway.cos_emulator.access import Credential
from gateway.cos_emulator.credential_services import CredentialServices
from gateway.cos_emulator.tokens import TokenIssuer
from gateway.tencent_api.bounded_http import BoundedHttp
from tests.answering import Service, answering

BASE_ID, BASE_KEY = "AKIDBASE", "the-key-of-the-base"
ROLE_ARN = "qcs::cam::uin/100000000001:roleName/images"
POD_TOKEN, PROVIDER = "the.token.of-the-pod", "cls-provider"


@pytest.fixture
async def services() -> AsyncIterator[CredentialServices]:
    """Services that give credentials of an hour."""
    issuer = TokenIssuer({BASE_ID: Credential(BASE_KEY)}, life=3600)
    async with CredentialServices(issuer, roles={ROLE_ARN: None}, web_identities={POD_TOKEN: PROVIDER}) as services:
        yield services


@pytest.fixture
async def http() -> AsyncIterator[BoundedHttp]:
    """A client whose requests take at most 2 seconds."""
    async with BoundedHttp(2) as http:
        yield http


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A service with answers that the test sets."""
    async with answering() as service:
        yield service
