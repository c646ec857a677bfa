"""Sources of the credentials that sign for a bucket.

Tencent's own tools set the variables ``TENCENTCLOUD_*`` and ``TKE_*``: their names are fixed, so they are no settings.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Final, Literal, Union, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from gateway.settings.base import Section, Token, http_url, matches, may_carry_secrets, require

ROLE_NAME: Final = "[A-Za-z0-9+=,@_-][A-Za-z0-9+=,.@_-]{0,127}"
_ROLE_ARN: Final = rf"qcs::cam::uin/[0-9]+:role(Name)?/({ROLE_NAME}/)*{ROLE_NAME}"
_ENVIRONMENT: Final = ("TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY")
_TKE: Final = ("TKE_REGION", "TKE_PROVIDER_ID", "TKE_ROLE_ARN", "TKE_WEB_IDENTITY_TOKEN_FILE")
_HOST_PORT: Final = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")

RoleName = Annotated[str, matches(ROLE_NAME, "a role name of letters, digits and + = , . @ _ -")]
RoleArn = Annotated[
    str, matches(_ROLE_ARN, "the ARN of a role, like qcs::cam::uin/100000000001:roleName/image-gateway")
]
SessionName = Annotated[str, matches(r"[A-Za-z0-9=,.@_-]{2,128}", "2 to 128 letters, digits and = , . @ _ -")]
ExternalId = Annotated[str, matches(r"[A-Za-z0-9+=,.@:/_-]{2,128}", "2 to 128 letters, digits and + = , . @ : / _ -")]


def _is_base(url: str) -> bool:
    """Return whether a URL has nothing but scheme and host: Tencent's documents give the paths."""
    parts = http_url(url)
    if parts is None or parts.path.strip("/") or parts.query or parts.fragment:
        return False
    return _HOST_PORT.fullmatch(parts.netloc) is not None


BaseUrl = Annotated[
    str,
    require(_is_base, "must be an address like https://host or http://host:port"),
    AfterValidator(lambda url: url.rstrip("/")),
]
EncryptedUrl = Annotated[
    BaseUrl,
    require(lambda url: may_carry_secrets(urlsplit(url)), "must be an https address; http is for this machine alone"),
]


def _check_variables(names: tuple[str, ...]) -> None:
    if missing := [name for name in names if not os.environ.get(name, "").strip()]:
        raise ValueError(f"{', '.join(missing)} must be set in the environment")


class StaticCredentialsSettings(Section):
    """Credentials of COS that do not change. Without ``secret_id``, the keys of ``cos`` itself."""

    source: Literal["static"] = "static"
    secret_id: Token | None = Field(None, min_length=1)
    secret_key: Token | None = Field(None, min_length=1)
    token: Token | None = None
    token_expires_at: int | None = None

    def _check(self) -> None:
        if (self.secret_id is None) != (self.secret_key is None):
            raise ValueError("needs both of secret_id and secret_key, or neither")
        if self.secret_id is None and (self.token is not None or self.token_expires_at is not None):
            raise ValueError("a token needs the secret_id and secret_key it was issued with")


class EnvironmentCredentialsSettings(Section):
    """Credentials from ``TENCENTCLOUD_SECRET_ID``, ``TENCENTCLOUD_SECRET_KEY``, ``TENCENTCLOUD_TOKEN``."""

    source: Literal["environment"]

    def _check(self) -> None:
        _check_variables(_ENVIRONMENT)

    @staticmethod
    def values() -> tuple[SecretStr, SecretStr, SecretStr | None]:
        """Return SecretId, SecretKey, and the token or None."""
        secret_id, secret_key = (SecretStr(os.environ[name].strip()) for name in _ENVIRONMENT)
        token = os.environ.get("TENCENTCLOUD_TOKEN", "").strip()
        return secret_id, secret_key, SecretStr(token) if token else None


class FileCredentialsSettings(Section):
    """Credentials from a JSON file that another program replaces."""

    source: Literal["file"]
    path: Path


class CvmRoleCredentialsSettings(Section):
    """Credentials from the metadata service of a Tencent virtual machine (CVM). ``role`` null: its first role."""

    source: Literal["cvm_role"]
    role: RoleName | None = None
    metadata_url: BaseUrl = "http://metadata.tencentyun.com"


class TkeOidcCredentialsSettings(Section):
    """Credentials of a pod's role in Tencent's Kubernetes (TKE), by the token that the cluster puts into a file."""

    source: Literal["tke_oidc"]
    sts_url: EncryptedUrl = "https://sts.tencentcloudapi.com"

    def _check(self) -> None:
        _check_variables(_TKE)

    @staticmethod
    def values() -> tuple[str, str, str, Path]:
        """Return region, provider id, role ARN and the path of the token's file."""
        region, provider_id, role_arn, file = (os.environ[name].strip() for name in _TKE)
        return region, provider_id, role_arn, Path(file)


class AssumeRoleCredentialsSettings(Section):
    """Settings of a role that the ``base`` credentials assume through Tencent's STS, for ``duration`` seconds."""

    source: Literal["assume_role"]
    role_arn: RoleArn
    session_name: SessionName = "image-gateway"
    duration: int = Field(7200, ge=60, le=43_200)
    external_id: ExternalId | None = None
    base: "CredentialsSettings" = StaticCredentialsSettings()
    sts_url: EncryptedUrl = "https://sts.tencentcloudapi.com"


CredentialsSettings = Annotated[
    Union[  # noqa: UP007 - the name of a class that is not defined yet
        StaticCredentialsSettings,
        EnvironmentCredentialsSettings,
        FileCredentialsSettings,
        CvmRoleCredentialsSettings,
        TkeOidcCredentialsSettings,
        AssumeRoleCredentialsSettings,
    ],
    Field(discriminator="source"),
]

AssumeRoleCredentialsSettings.model_rebuild()

CREDENTIAL_SOURCES: Final = frozenset(
    name
    for kind in get_args(get_args(CredentialsSettings)[0])
    for name in get_args(kind.model_fields["source"].annotation)
)
