"""A table whose rows have aliases, beside the table of images."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from gateway.catalog.sql_files import changes_sql
from gateway.settings import PostgresSettings
from tests.conftest import Images

POSTGRES: dict[str, Any] = {"table": "paintings", "columns": {"alias": "slug"}}


@asynccontextmanager
async def paintings_table(images: Images, dsn: str) -> AsyncIterator[None]:
    """The table, with its trigger."""
    settings = PostgresSettings.model_validate({"dsn": SecretStr(dsn), **POSTGRES})
    sql = await asyncio.to_thread(changes_sql, settings)
    await images.execute("CREATE TABLE paintings (LIKE images INCLUDING ALL, slug text UNIQUE)")
    try:
        await images.execute(sql.replace("%", "%%"))
        yield
    finally:
        await images.execute("DROP TABLE paintings")


async def hang(images: Images, image_id: str, slug: str | None, **rest: Any) -> None:
    """Add an image with an alias."""
    await images.add(image_id, f"bytes of {image_id}".encode(), **rest)
    await images.execute("INSERT INTO paintings SELECT images.*, %s FROM images WHERE id = %s", slug, image_id)


def at(slug: str) -> str:
    """The address by an alias."""
    return f"/a/{quote(slug)}"
