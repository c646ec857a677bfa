"""Mutants: small changes of the code, each of which the simulation must find.

A mutant replaces text of modules while they are imported: no file is changed, and no cached bytecode is read or
written. It fails loudly when the text is not there any more, or is there more than once.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple


class Edit(NamedTuple):
    """``before`` is once in the source of ``module``, or of a script of nginx."""

    module: str
    before: str
    after: str


class Mutant(NamedTuple):
    """``what``: the mechanism that is missing. ``faults``: what it is for; nothing else fails in its runs.

    plan: the seed of the plan of all its runs, which differ in the order of what happens at once.
    """

    what: str
    edits: tuple[Edit, ...]
    faults: tuple[str, ...]
    plan: int


def _mutant(what: str, *edits: tuple[str, str, str], faults: str = "", plan: int = 0) -> Mutant:
    return Mutant(what, tuple(Edit(*edit) for edit in edits), tuple(faults.split()), plan)


_LOG: Final = "gateway.changes.change_log"
_TRUST: Final = "gateway.changes.entry_trust"
_HEARTBEAT: Final = "gateway.changes.heartbeat"
_LIST: Final = "gateway.changes.nginx_list"
_FEED: Final = "gateway.catalog.change_feed"
_TIER: Final = "gateway.urls.local_tier"
_RESOLVER: Final = "gateway.urls.resolver"
_OUTAGE: Final = "gateway.urls.outage"
_WORKER: Final = "gateway.purge.worker"
_HEARING, _DECISIONS = "hearing.js", "decisions.js"
_NOTHING_PROVEN: Final = _HEARING, "        is_proven = prove(state, orders, event, answer);\n", ""

MUTANTS: Final = {
    "refusals_ignored": _mutant(
        "nginx goes on with its copies when gateways refuse its question",
        (_HEARING, "state.stopped || event.now - state.refused > REFUSED", "state.stopped"),
        faults="refuse_lists",
    ),
    "clocks_compared": _mutant(
        "nginx's time is taken for the gateway's",
        (_LIST, "            since = current - (asked_at - since)", "            pass"),
        plan=12,
    ),
    "stale_after_a_change": _mutant(
        "what is stale is sent while no row can be read, also after a change of the image was heard",
        (_OUTAGE, "if in_redis is not None and self.has_changed(in_redis.image, now):", "if False:"),
        faults="refuse_writes lock_table",
        plan=8,
    ),
    # Each mechanism.
    "no_marks": _mutant(
        "a row that was read before a change is kept after it",
        (_TIER, "if mark < self._renditions_changed or self._log.changed_since(variant.image_id, mark):", "if False:"),
        plan=63_944,
    ),
    "no_skew": _mutant(
        "clocks of replicas do not differ",
        (_TRUST, "_UNSURE: Final = max(5.0, LEASE)", "_UNSURE: Final = 0.0"),
        faults="refuse_writes restore_redis",
    ),
    "changes_not_compared": _mutant(
        "an entry of Redis is used whatever changes were heard",
        (_TRUST, "return _is_read_before(row, change.at, now)", "return False"),
        faults="refuse_writes restore_redis",
    ),
    "gap_trusted": _mutant(
        "an entry of Redis is used whose row was read before a gap",
        (_TRUST, "after = max(log.rows_missed.at, self._after)", "after = self._after"),
        faults="stop_postgres",
        plan=65,
    ),
    "gap_kept": _mutant(
        "memory is used from before a gap",
        (_LOG, "            cache.drop_all()", "            pass"),
        faults="end_feed",
    ),
    "endless_lease": _mutant(
        "rows are trusted for ever after a heartbeat",
        (_HEARTBEAT, "self.lease_until = sent_at + self._lease", "self.lease_until = float('inf')"),
        faults="deafen_feed",
    ),
    "heartbeat_beside_the_queue": _mutant(
        "a heartbeat counts when it is sent",
        (
            _FEED,
            "sender.send(HEARTBEAT_PREFIX + heartbeat.send(self.steady()))",
            "listener.log.heartbeat(Source.ROWS, heartbeat.send(self.steady()))",
        ),
        faults="deafen_feed",
    ),
    "heartbeat_on_the_listening_connection": _mutant(
        "a heartbeat comes back on the connection that sends it, as through a pooler in transaction mode",
        (
            _FEED,
            "sender.send(HEARTBEAT_PREFIX + heartbeat.send(self.steady()))",
            """payload = HEARTBEAT_PREFIX + heartbeat.send(self.steady())
                        await cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))""",
        ),
        faults="deafen_feed",
    ),
    "trigger_gap_kept": _mutant(
        "rows are trusted that were read while there was no trigger",
        ("gateway.service.urls", "    invalidation.gap_ended()\n", "    del invalidation\n"),
        (_FEED, "            listener.gap_ended()\n", "            pass\n"),
        faults="drop_trigger",
        plan=2,
    ),
    "trigger_gap_looked_for": _mutant(
        "that a trigger is back is only known when somebody can look for it",
        (_FEED, "            listener.gap_ended()\n", "            pass\n"),
        faults="drop_trigger refuse_rows",
        plan=5,
    ),
    "no_new_connection": _mutant(
        "a connection without heartbeats is kept",
        (_FEED, "if heartbeat.is_lost(self.steady()):", "if False:"),
        faults="deafen_feed",
    ),
    "no_new_subscription": _mutant(
        "a subscription without heartbeats is kept",
        ("gateway.redis_replicas.invalidation_channel", "if heartbeat.is_lost(self._steady()):", "if False:"),
        ("gateway.redis_replicas.invalidation_channel", "_SILENCE: Final = 15.0", "_SILENCE: Final = 1e9"),
        faults="deafen_channel",
    ),
    "memory_without_lease": _mutant(
        "memory is used without heartbeats",
        (_TIER, "if self._log.rows_trusted_until <= now and not entry.is_brief:", "if False:"),
        faults="deafen_feed",
    ),
    "redis_without_lease": _mutant(
        "entries of Redis are used without heartbeats",
        (_TRUST, "now.log >= log.rows_trusted_until or ", ""),
        faults="deafen_feed deafen_channel",
        plan=5066,
    ),
    "row_from_before_the_wait": _mutant(
        "an answer that waits for COS is sent by the row that it began with",
        (_LOG, "return self._latest.get(image_id, _NO_CHANGE).at >= since", "return False"),
        faults="slow_cos",
    ),
    "excused_for_long": _mutant(
        "a row that could not be read is asked for again after half a minute",
        (_OUTAGE, "return min(_PAUSE, usable_for)", "return usable_for"),
        faults="hang_postgres",
        plan=33_432,
    ),
    "missing_forgotten": _mutant(
        "an image that was missing comes back from Redis while no row can be read",
        (_OUTAGE, "if was_missing or not entries:", "if not entries:"),
        faults="deafen_feed deafen_channel stop_postgres",
        plan=5081,
    ),
    "rows_from_before_a_pause": _mutant(
        "requests that came during a pause get rows from before it",
        (_RESOLVER, "if self.local.now() - began >= LEASE and not is_repeated:", "if False:"),
        faults="pause_gateway",
        plan=55_327,
    ),
    "standby_believed": _mutant(
        "a standby is asked that has not replayed a change",
        ("gateway.catalog.postgres", "if positions.are_in(replayed, image_ids):", "if True:"),
        plan=7,
    ),
    "no_sweep_after_a_gap": _mutant(
        "the list names no gap, and nginx does not see it by the heartbeats",
        (_LOG, "if self.serves and not is_swept:", "if False:"),
        _NOTHING_PROVEN,
        faults="deafen_feed",
        plan=17,
    ),
    "doubt_for_ever": _mutant(
        "nginx uses copies while no gateway has heard all changes",
        (_HEARING, "DOUBT = 450", "DOUBT = 1e12"),
        faults="stop_postgres",
    ),
    "named_for_a_second": _mutant(
        "nginx keeps what a deaf gateway sent within its lease, when that gateway dies before it says so",
        (_LIST, "_NAMED: Final = (0, 250, 1000, round(TOLD_LAST * 1000))", "_NAMED: Final = (0, 250, 1000)"),
        faults="deafen_feed kill_gateway",
        plan=217,
    ),
    "no_floor_after_a_gap": _mutant(
        "nginx does not forget all when every image may have changed",
        (_HEARING, "if (changes.some((change) => change.image_id === null)) {", "if (false) {"),
        _NOTHING_PROVEN,
        faults="deafen_feed",
        plan=17,
    ),
    "settings_ignored": _mutant(
        "nginx keeps what a process with other settings has made",
        (_HEARING, "if (!known && event.question.page === 0 && ", "if (false && "),
        (_HEARING, "if (state.mixed && !is_mixed) {", "if (false) {"),
        faults="upgrade_gateway",
        plan=51,
    ),
    "rights_ignored": _mutant(
        "nginx keeps decisions by other rights",
        (_HEARING, "if (!known || known.access !== answer.access) {", "if (false) {"),
        plan=41,
    ),
    "time_lost_in_a_pause": _mutant(
        "nginx does not see that its clock was set back while it was paused",
        (_HEARING, "> event.now - gateway.at + LOST)) {", "> event.now - gateway.at + LOST) && false) {"),
        faults="pause_nginx step_clock_of_nginx",
        plan=51_299,
    ),
    "asker_dead": _mutant(
        "copies are used although nobody asks", (_HEARING, "ALIVE = 2000", "ALIVE = 3600000"), faults="pause_nginx"
    ),
    # Parts that differ.
    "decision_without_cookie": _mutant(
        "nginx keeps a decision about a caller with a cookie for everybody",
        (_DECISIONS, "headers.Authorization, headers.Cookie, r.", "headers.Authorization, r."),
        faults="refuse_lists",
        plan=1,
    ),
    "private_order_for_all": _mutant(
        "nginx keeps what a gateway says of a private image for everybody",
        (_DECISIONS, "keep(r, is_public ? 0 : 1, r", "keep(r, 0, r"),
        faults="refuse_lists",
        plan=1,
    ),
    "hit_not_checked": _mutant(
        "nobody checks who may see an image that is not public",
        ("gateway.access.policy", "if image.public:  # so", "if True:  # so"),
        faults="refuse_lists",
    ),
    "sources_not_compared": _mutant(
        "an entry of Redis is used that a gateway with other columns wrote",
        ("gateway.redis_entries.url_entries", '"\\n".join((_FORMAT, *context))', "_FORMAT"),
        faults="change_sources",
        plan=2,
    ),
    "dead_subscription_kept": _mutant(
        "a connection to Redis that the kernel has given up is asked again and again",
        (
            "gateway.redis_replicas.invalidation_channel",
            "    if message is None:\n        raise",
            "    if False:\n        raise",
        ),
        ("gateway.redis_replicas.invalidation_channel", "_SILENCE: Final = 15.0", "_SILENCE: Final = 1e9"),
        faults="cut_off_from_redis",
    ),
    "purged_once": _mutant(
        "a CDN is purged once, while a deaf gateway still trusts the earlier row",
        (_WORKER, "sent(sent, self._claimed_at, self._listed, REPEAT_AFTER)", "sent(sent, self._claimed_at)"),
        faults="deafen_gateway",
        plan=1,
    ),
    "purged_again_too_early": _mutant(
        "a CDN is purged again while a deaf gateway still trusts the earlier row",
        (_WORKER, "REPEAT_AFTER: Final = LEASE + ", "REPEAT_AFTER: Final = "),
        faults="deafen_gateway",
        plan=1,
    ),
    "purged_by_a_clock_that_is_ahead": _mutant(
        "each process sends purges by its own clock",
        (_WORKER, "            now = await self.intake.now()\n", "            now = await self.intake.now() + 2.0\n"),
        (_WORKER, "self._claimed_at = await self.intake.now()", "self._claimed_at = await self.intake.now() + 2.0"),
        faults="pause_nginx",
        plan=23,
    ),
    "lost_claims_kept": _mutant(
        "purges that Redis gave without an answer wait for the end of their lease",
        (_WORKER, "            self._is_unanswered = True\n", ""),
        faults="lose_answers",
        plan=104,
    ),
    "unread_kept_by_nginx": _mutant(
        "nginx keeps what a gateway sends that cannot read its row",
        (
            "gateway.delivery.headers",
            'return headers | {"X-Accel-Expires": "0"} if policy.unread else headers',
            "return headers",
        ),
        ("gateway.delivery.cache_policy", "self.within(_UNREAD)._replace(shared_max_age=None, ", "self._replace("),
        faults="cut_off_from_postgres",
    ),
    "unread_kept_by_caches": _mutant(
        "a CDN and browsers keep what a gateway sends that cannot read its row",
        ("gateway.delivery.cache_policy", "self.within(_UNREAD)._replace(shared_max_age=None, ", "self._replace("),
        faults="cut_off_from_postgres",
    ),
    "unread_decision_kept": _mutant(
        "nginx keeps a decision by a row that could not be read",
        ("gateway.delivery.nginx_decisions", "value.decision_ttl or policy.unread:", "value.decision_ttl:"),
        faults="cut_off_from_postgres",
        plan=14,
    ),
    "ended_url_wins": _mutant(
        "while no row can be read, a URL in memory that has ended hides the one in Redis",
        (_OUTAGE, "        for entry in (latest, *entries):", "        for entry in entries[:1]:"),
    ),
}


class _MutatedSource(SourceLoader):
    def __init__(self, path: str, edits: Sequence[Edit]) -> None:
        self._path = path
        self._edits = edits

    def get_filename(self, _fullname: str) -> str:
        return self._path

    def get_data(self, path: str) -> bytes:
        if path != self._path:
            raise OSError("no bytecode is kept")
        return mutated(Path(path).read_text(), self._edits).encode()


class _Finder(MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        edits = [edit for edit in self._mutant.edits if edit.module == fullname]
        if not edits:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        return spec_from_loader(fullname, _MutatedSource(spec.origin, edits))


_of_scripts: Final[list[Edit]] = []


def edited(script: str, source: str) -> str:
    """Return the source of a script of nginx, with the edits of the mutant that is installed."""
    return mutated(source, [edit for edit in _of_scripts if edit.module == script])


def mutated(source: str, edits: Sequence[Edit]) -> str:
    """Return the source with the edits. Raises ``LookupError`` if their text is not there once."""
    for edit in edits:
        if source.count(edit.before) != 1:
            raise LookupError(f"{edit.module} has this text {source.count(edit.before)} times: {edit.before!r}")
        source = source.replace(edit.before, edit.after)
    return source


def install(mutant: Mutant) -> None:
    """Change the modules that are imported from now on."""
    _of_scripts.extend(mutant.edits)
    for edit in mutant.edits:
        if edit.module in sys.modules:
            raise RuntimeError(f"{edit.module} is imported already")
    sys.meta_path.insert(0, _Finder(mutant))
