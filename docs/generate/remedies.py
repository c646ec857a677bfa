"""The alert of each problem that the console shows: its section of the runbook helps, and its command tells more."""

import json
from collections.abc import Mapping
from typing import Final

import yaml

ALERTS: Final[Mapping[str, str]] = {
    "canary_fails": "ImageGatewayCanaryFails",
    "canary_wrong": "ImageGatewayCanaryFails",
    "requests_fail": "ImageGatewayErrors",
    "cos_refuses": "ImageGatewayOriginRefuses",
    "cos_errors": "ImageGatewayOriginFailing",
    "objects_missing": "ImageGatewayObjectsMissing",
    "objects_unprocessable": "ImageGatewayObjectsUnprocessable",
    "bucket_slow": "ImageGatewayBucketSlow",
    "answers_changed": "ImageGatewayAnswersChanged",
    "answers_mostly": "ImageGatewayAnswersChanged",
    "nginx_silent": "ImageGatewayNginxSilent",
    "nginx_unheard": "ImageGatewayNginxUnheard",
    "nginx_asks_wrong_port": "ImageGatewayNginxAsksWrongPort",
    "dependency_down": "ImageGatewayDependencyDown",
    "dependency_degraded": "ImageGatewayDependencyDown",
    "changes_not_heard": "ImageGatewayChangesNotHeard",
    "bucket_paused": "ImageGatewayBucketFailing",
    "clock_differs": "ImageGatewayClockWrong",
    "credentials_end": "ImageGatewayCredentialsEndSoon",
    "credentials_ended": "ImageGatewayCredentialsEndSoon",
    "trigger_missing": "ImageGatewayChangesNotNotified",
    "reload_refused": "ImageGatewayConfigReloadFailed",
    "log_lines_dropped": "ImageGatewayLogLinesDropped",
    "nginx_files_old": "ImageGatewayNginxFilesOld",
    "open_files_short": "ImageGatewayOpenFilesShort",
    "workers_missing": "ImageGatewayWorkersMissing",
    "workers_end": "ImageGatewayWorkersEnd",
    "renewals_late": "ImageGatewayRenewalsLate",
    "renewals_dead": "ImageGatewayRenewalsGivenUp",
    "purges_late": "ImageGatewayPurgesLate",
    "purges_dead": "ImageGatewayPurgesGivenUp",
}


def remedies(alerts: str) -> str:
    """Return the console's script with the alert and the command of each problem; ``alerts`` is alerts.yml."""
    rules = {
        rule["alert"]: rule for group in yaml.safe_load(alerts)["groups"] for rule in group["rules"] if "alert" in rule
    }
    found = {
        problem: {"alert": alert, "command": rules[alert]["annotations"]["command"]}
        for problem, alert in ALERTS.items()
    }
    return (
        "// Written by `make docs`: the alert of each problem, whose section of the runbook helps, and its command.\n"
        f"export const REMEDIES = {json.dumps(found, indent=2)};\n"
    )
