"""Findings on Postgres: the query, grants, the change trigger, the table of killed links."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.catalog.change_feed import NOT_PASSED_ON
from gateway.catalog.database_report import DatabaseReport, tell_gateways, time_notification
from gateway.catalog.postgres import CatalogQueryRefused, PostgresCatalog
from gateway.catalog.record import ImageRecord
from gateway.errors import GatewayError
from gateway.findings.catalogue import CATALOGUE
from gateway.findings.finding import Finding, well
from gateway.settings import PostgresSettings

_CHANGES: Final = f"run: {CATALOGUE['trigger_missing'].command}"
_VIEW = "list each table behind the view in postgres.changes, with the column that holds the image's id"
_RANDOM_ROWS = 20


@dataclass(slots=True)
class DatabaseCheck:
    """Tries Postgres for ``gateway check``. ``images``: rows read for the checks of COS, one of each bucket first."""

    catalog: PostgresCatalog
    settings: PostgresSettings
    signs_links: bool
    images: Sequence[ImageRecord] = ()
    no_image_reason: str = "no image was read, since Postgres failed"

    async def findings(self) -> AsyncIterator[Finding]:
        """Yield a finding on the query, and if it works on the triggers and the table of links."""
        try:
            report = await self.catalog.report()
        except GatewayError as error:
            yield Finding.of("dependency_down", "postgres", str(error))
            return
        await tell_gateways(self.settings)
        try:
            images = await self.catalog.sample_images() + await self.catalog.random_images(_RANDOM_ROWS)
        except GatewayError as error:
            yield of_failed_query(report, error)
            return
        if any(mistake.breaks_query for mistake in report.mistakes):  # of the grants, which a sample does not read
            yield of_failed_query(report, None)
            return
        self.images = list({image.image_id: image for image in images}.values())
        self.no_image_reason = "there is no image to read yet"
        if self.images:
            yield well("postgres", f"the row {self.images[0].image_id} was read, as {report.address}")
        else:
            yield Finding.of("no_rows", "postgres", address=report.address)
        for finding in of_tables(report):
            yield finding
        yield await self._changes()
        if self.signs_links:
            yield await self._links(report)

    async def _changes(self) -> Finding:
        if not self.settings.listen:
            return well("changes", "turned off by postgres.listen: they take effect when cached URLs end")
        try:
            reports = await self.catalog.triggers()
            for report in (report for report in reports if report.problem is not None):
                advice = _VIEW if report.is_notified else f"{_VIEW}; then {_CHANGES}" if report.is_view else _CHANGES
                what = f"{report.problem}: they take effect when cached URLs end"
                return Finding.of("trigger_missing", "changes", what, advice)
            seconds = await time_notification(self.settings)
        except GatewayError as error:
            return Finding.of("changes_not_heard", "changes", f"not received: {error}")
        if seconds is None:
            what = f"{NOT_PASSED_ON}: a test notification did not arrive"
            return Finding.of("changes_not_heard", "changes", what)
        return well("changes", f"the trigger is installed; a notification came after {seconds * 1000:.0f} ms")

    async def _links(self, report: DatabaseReport) -> Finding:
        try:
            await self.catalog.try_links()
        except GatewayError as error:
            return Finding.of("links_missing", "signed_links", str(error))
        if report.links_problem is not None:
            return Finding.of("links_not_notified", "signed_links", problem=report.links_problem)
        return well("signed_links", "the table of killed links can be read and written")


def of_failed_query(report: DatabaseReport, error: GatewayError | None) -> Finding:
    """Return the finding on a query that failed although Postgres answers, or would by a mistake in the report."""
    is_refused = error is None or isinstance(error, CatalogQueryRefused)
    for mistake in report.mistakes:
        if mistake.breaks_query:
            what = f"{mistake.problem}, as {report.address}"
            return Finding.of("dependency_down", "postgres", what, mistake.remedy, stops_start=is_refused)
    problem = f": {report.table_problem}" if report.table_problem is not None else ""
    advice = f"run: {'; '.join(report.repairs)}" if report.repairs else ""
    what = f"{error}{problem}, as {report.address}"
    return Finding.of("dependency_down", "postgres", what, advice, stops_start=is_refused)


def of_tables(report: DatabaseReport) -> Iterator[Finding]:
    """Yield warnings about hidden rows, an ambiguous name of a table, and settings that do not fit the tables."""
    for table in report.tables:
        if table.problem is not None:
            yield Finding.of("rows_hidden", "rows", table.problem, f"run: {table.repair}")
    if report.path_problem is not None:
        yield Finding.of("table_ambiguous", "table", report.path_problem)
    for mistake in report.mistakes:
        yield Finding.of("settings_differ", "settings", mistake.problem, mistake.remedy)
