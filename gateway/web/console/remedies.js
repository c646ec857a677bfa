// Written by `make docs`: the alert of each problem, whose section of the runbook helps, and its command.
export const REMEDIES = {
  "canary_fails": {
    "alert": "ImageGatewayCanaryFails",
    "command": "image-gateway-admin check | grep -A1 'from outside'"
  },
  "canary_wrong": {
    "alert": "ImageGatewayCanaryFails",
    "command": "image-gateway-admin check | grep -A1 'from outside'"
  },
  "requests_fail": {
    "alert": "ImageGatewayErrors",
    "command": "journalctl -u 'image-gateway*' -o cat --since -15m | grep -oE '\"(code|cos_code)\": \"\\w+\"' | sort | uniq -c"
  },
  "cos_refuses": {
    "alert": "ImageGatewayOriginRefuses",
    "command": "image-gateway-admin check"
  },
  "cos_errors": {
    "alert": "ImageGatewayOriginFailing",
    "command": "image-gateway-admin check"
  },
  "objects_missing": {
    "alert": "ImageGatewayObjectsMissing",
    "command": "journalctl -u 'image-gateway*' -o cat --since -15m | grep NoSuchKey | grep -oE '\"image\": \"[^\"]+\"' | sort | uniq -c"
  },
  "dependency_down": {
    "alert": "ImageGatewayDependencyDown",
    "command": "curl -s http://{{ $labels.instance }}/readyz; image-gateway-admin check"
  },
  "dependency_degraded": {
    "alert": "ImageGatewayDependencyDown",
    "command": "curl -s http://{{ $labels.instance }}/readyz; image-gateway-admin check"
  },
  "bucket_paused": {
    "alert": "ImageGatewayBucketFailing",
    "command": "image-gateway-admin check"
  },
  "clock_differs": {
    "alert": "ImageGatewayClockWrong",
    "command": "timedatectl"
  },
  "credentials_end": {
    "alert": "ImageGatewayCredentialsEndSoon",
    "command": "image-gateway-admin check"
  },
  "credentials_ended": {
    "alert": "ImageGatewayCredentialsEndSoon",
    "command": "image-gateway-admin check"
  },
  "trigger_missing": {
    "alert": "ImageGatewayChangesNotNotified",
    "command": "image-gateway-admin sql changes > changes.sql && psql \"${DSN:?is not set: the DSN of the owner of the table}\" -v ON_ERROR_STOP=1 -f changes.sql"
  },
  "reload_refused": {
    "alert": "ImageGatewayConfigReloadFailed",
    "command": "image-gateway-admin check"
  },
  "log_lines_dropped": {
    "alert": "ImageGatewayLogLinesDropped",
    "command": "systemctl status systemd-journald | head -20; df -h /var/log"
  },
  "workers_missing": {
    "alert": "ImageGatewayWorkersMissing",
    "command": "curl -s http://{{ $labels.instance }}/readyz"
  },
  "renewals_late": {
    "alert": "ImageGatewayRenewalsLate",
    "command": "image-gateway-admin queue list"
  },
  "renewals_dead": {
    "alert": "ImageGatewayRenewalsGivenUp",
    "command": "image-gateway-admin queue dead"
  },
  "purges_late": {
    "alert": "ImageGatewayPurgesLate",
    "command": "image-gateway-admin queue list --purges"
  },
  "purges_dead": {
    "alert": "ImageGatewayPurgesGivenUp",
    "command": "image-gateway-admin queue dead --purges"
  }
};
