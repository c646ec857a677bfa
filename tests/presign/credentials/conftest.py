"""The emulated metadata and STS services, and the credentials that they may return."""

from collections.abc import AsyncIterator

import pytest

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.credential_services import CredentialServices, TokenIssuer
from tests.answering import http, service

__all__ = ["http", "service", "services"]

BASE_ID, BASE_KEY = "AKIDBASE", "the-key-of-the-base"
ROLE_ARN = "qcs::cam::uin/100000000001:roleName/images"
POD_TOKEN, PROVIDER = "the.token.of-the-pod", "cls-provider"


@pytest.fixture
async def services() -> AsyncIterator[CredentialServices]:
    """Services that give credentials of an hour."""
    issuer = TokenIssuer({BASE_ID: Credential(BASE_KEY)}, life=3600)
    async with CredentialServices(issuer, roles={ROLE_ARN: None}, web_identities={POD_TOKEN: PROVIDER}) as services:
        yield services
