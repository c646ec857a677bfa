// Written by `make docs`: the alert of each problem, whose section of the runbook helps, and its command.
export const REMEDIES = {
  "canary_fails": {
    "alert": "ImageGatewayCanaryFails",
    "command": "image-gateway check --config /etc/image-gateway/gateway.yaml | grep -A1 'from outside'"
  },
  "canary_wrong": {
    "alert": "ImageGatewayCanaryFails",
    "command": "image-gateway check --config /etc/image-gateway/gateway.yaml | grep -A1 'from outside'"
  },
  "requests_fail": {
    "alert": "ImageGatewayErrors",
    "command": "journalctl -u 'image-gateway*' -o cat --since -15m | grep -oE '\"(code|cos_code)\": \"\\w+\"' | sort | uniq -c"
  },
  "cos_refuses": {
    "alert": "ImageGatewayOriginRefuses",
    "command": "image-gateway check --config /etc/image-gateway/gateway.yaml"
  },
  "cos_errors": {
    "alert": "ImageGatewayOriginFailing",
    "command": "image-gateway check --config /etc/image-gateway/gateway.yaml"
  },
  "objects_missing": {
    "alert": "ImageGatewayObjectsMissing",
    "command": "journalctl -u 'image-gateway*' -o cat --since -15m | grep NoSuchKey | grep -oE '\"image\": \"[^\"]+\"' | sort | uniq -c"
  },
  "dependency_down": {
    "alert": "ImageGatewayDependencyDown",
    "command": "curl -s http://{{ $labels.instance }}/readyz; image-gateway check --config /etc/image-gateway/gateway.yaml"
  },
  "dependency_degraded": {
    "alert": "ImageGatewayDependencyDown",
    "command": "curl -s http://{{ $labels.instance }}/readyz; image-gateway check --config /etc/image-gateway/gateway.yaml"
  },
  "bucket_paused": {
    "alert": "ImageGatewayBucketFailing",
    "command": "image-gateway check --config /etc/image-gateway/gateway.yaml"
  },
  "clock_differs": {
    "alert": "ImageGatewayClockWrong",
    "command": "timedatectl"
  },
  "credentials_end": {
    "alert": "ImageGatewayCredentialsEndSoon",
    "command": "image-gateway check --config /etc/image-gateway/gateway.yaml"
  },
  "credentials_ended": {
    "alert": "ImageGatewayCredentialsEndSoon",
    "command": "image-gateway check --config /etc/image-gateway/gateway.yaml"
  },
  "trigger_missing": {
    "alert": "ImageGatewayChangesNotNotified",
    "command": "image-gateway sql changes --config /etc/image-gateway/gateway.yaml > changes.sql && psql \"$DSN\" -v ON_ERROR_STOP=1 -f changes.sql"
  },
  "reload_refused": {
    "alert": "ImageGatewayConfigReloadFailed",
    "command": "image-gateway check --config /etc/image-gateway/gateway.yaml"
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
    "command": "image-gateway queue list --config /etc/image-gateway/gateway.yaml"
  },
  "renewals_dead": {
    "alert": "ImageGatewayRenewalsGivenUp",
    "command": "image-gateway queue dead --config /etc/image-gateway/gateway.yaml"
  },
  "purges_late": {
    "alert": "ImageGatewayPurgesLate",
    "command": "image-gateway queue list --purges --config /etc/image-gateway/gateway.yaml"
  },
  "purges_dead": {
    "alert": "ImageGatewayPurgesGivenUp",
    "command": "image-gateway queue dead --purges --config /etc/image-gateway/gateway.yaml"
  }
};
