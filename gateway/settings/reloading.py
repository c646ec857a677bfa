"""The keys that a reload changes, those that need a restart, and the difference between two configurations."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from gateway.settings import Settings
from gateway.settings.mistakes import SettingsError, explain
from gateway.settings.section import Section

# Every key is in one of these two tables; `*` is the name of a bucket. docs/configuration.md says which.
RELOADED: Final = frozenset(
    {
        "access.forwarded_user",
        "access.jwt",
        "access.signed_links.keys",
        "admin.token",
        "cos.buckets.*.credentials",
        "cos.credentials",
        "cos.secret_id",
        "cos.secret_key",
        "cos.token",
        "cos.token_expires_at",
        "image_proxy.enabled",
        "image_proxy.max_age",
        "image_proxy.memory_cache.max_bytes",
        "image_proxy.memory_cache.max_object_bytes",
        "image_proxy.memory_cache.ttl",
        "image_proxy.retry_count",
        "image_styles",
        "image_variants.formats",
        "image_variants.max_dpr",
        "image_variants.max_new_per_minute",
        "image_variants.negotiate",
        "image_variants.originals",
        "image_variants.quality",
        "image_variants.unknown_width",
        "image_variants.widths",
        "logging.access",
        "logging.access_sample",
        "logging.format",
        "logging.level",
        "redis.entry_key",
        "redis.entry_key_previous",
        "server.shutdown_grace",
        "server.trusted_proxies",
        "url_cache.default_ttl",
        "url_cache.local_ttl",
        "url_cache.max_size",
        "url_cache.min_remaining",
        "url_cache.sign_window",
        "url_prerefresh.batch_size",
        "url_prerefresh.idle_after",
        "url_prerefresh.interval",
        "url_prerefresh.lease",
        "url_prerefresh.max_attempts",
        "url_prerefresh.threshold",
        "url_stats.retention_days",
    }
)
RESTARTED: Final = frozenset(
    {
        "access.signed_links",  # on or off: the query of the catalog reads killed links only if they are on
        "admin.host",
        "admin.port",
        "cos.bucket",
        "cos.buckets",  # the set of buckets
        "cos.buckets.*.domain",
        "cos.buckets.*.region",
        "cos.buckets.*.scheme",
        "cos.domain",
        "cos.region",
        "cos.scheme",
        "image_proxy.accel_prefix",
        "image_proxy.delivery",
        "image_proxy.fallback",
        "image_proxy.timeout",
        "postgres.columns.bucket",
        "postgres.columns.content_type",
        "postgres.columns.focus",
        "postgres.columns.height",
        "postgres.columns.id",
        "postgres.columns.key",
        "postgres.columns.owner",
        "postgres.columns.placeholder",
        "postgres.columns.public",
        "postgres.columns.region",
        "postgres.columns.status",
        "postgres.columns.version",
        "postgres.columns.width",
        "postgres.dsn",
        "postgres.listen",
        "postgres.pool_size",
        "postgres.table",
        "postgres.timeout",
        "purge",
        "redis.prefix",
        "redis.timeout",
        "redis.url",
        "server.host",
        "server.keepalive_timeout",
        "server.loop",
        "server.max_streams",  # open files, connections to COS and places of clients are reserved at the start
        "server.port",
        "server.reuse_port",
        "tracing.enabled",
        "url_cache.enabled",
        "url_cache.warm_top",
        "url_prerefresh.enabled",
        "url_stats.enabled",
    }
)
_BRANCHES: Final = frozenset(  # the keys that hold other keys of the tables
    key[:end] for key in RELOADED | RESTARTED for end, letter in enumerate(key) if letter == "."
)


class SettingsDifference(NamedTuple):
    """The new ``settings``, with the old values of the keys that ``need_restart``.

    ``changed`` are the other keys that differ, by their full names; ``concerned`` are their names in ``RELOADED``.
    """

    settings: Settings
    changed: tuple[str, ...]
    need_restart: tuple[str, ...]
    concerned: frozenset[str]


def difference(old: Settings, new: Settings) -> SettingsDifference:
    """Return the difference that a reload from ``old`` to ``new`` applies.

    Raises ``SettingsError`` if the changed keys are not valid together with the old values of the others.
    """
    keys = dict(_different(old, new))
    changed = tuple(name for name, key in keys.items() if key in RELOADED)
    need_restart = tuple(name for name, key in keys.items() if key not in RELOADED)
    try:
        settings = Settings(**_merged(old, new, ""))
    except ValidationError as error:
        reason = f"with the old values of what needs a restart ({', '.join(need_restart)})"
        lines = [line for mistake in error.errors() for line in explain(mistake)]
        raise SettingsError([f"{line}; {reason}" for line in lines]) from None
    return SettingsDifference(settings, changed, need_restart, frozenset(keys.values()) & RELOADED)


def _different(old: Any, new: Any, name: str = "", key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the full name of each key that differs, and its name in the tables."""
    if _is_branch(old, new, key):
        for part in _parts(old):
            named = f"{name}.{part}" if name else part
            in_table = f"{key}.{'*' if isinstance(old, Mapping) else part}" if key else part
            yield from _different(_part(old, part), _part(new, part), named, in_table)
    elif not _is_same(old, new):
        yield name, key


def _merged(old: Any, new: Any, key: str) -> Any:
    """Return ``new`` with the values of ``old`` for the keys that need a restart."""
    if not _is_branch(old, new, key):
        return new if key in RELOADED else old
    values = {
        part: _merged(
            _part(old, part), _part(new, part), f"{key}.{'*' if isinstance(old, Mapping) else part}" if key else part
        )
        for part in _parts(old)
    }
    if isinstance(old, Section) and key:
        return old.model_copy(update=values)
    return values


def _is_branch(old: Any, new: Any, key: str) -> bool:
    """Return whether the key contains further keys of the tables in both configurations."""
    if not key:
        return True
    if key not in _BRANCHES:
        return False
    if isinstance(old, Mapping):
        return isinstance(new, Mapping) and old.keys() == new.keys()
    return isinstance(old, Section) and type(old) is type(new)


def _parts(branch: Any) -> list[str]:
    return list(branch) if isinstance(branch, Mapping) else list(type(branch).model_fields)


def _part(branch: Any, name: str) -> Any:
    return branch[name] if isinstance(branch, Mapping) else getattr(branch, name)


def _is_same(old: Any, new: Any) -> bool:
    """Return whether two values mean the same: the order counts, since the first link key signs."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return list(old.items()) == list(new.items())
    return bool(old == new)
