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
  "objects_unprocessable": {
    "alert": "ImageGatewayObjectsUnprocessable",
    "command": "journalctl -u 'image-gateway*' -o cat --since -15m | grep '\"variant\"' | grep -oE '\"image\": \"[^\"]+\"' | sort | uniq -c | sort -n | tail"
  },
  "bucket_slow": {
    "alert": "ImageGatewayBucketSlow",
    "command": "image-gateway-admin check"
  },
  "answers_changed": {
    "alert": "ImageGatewayAnswersChanged",
    "command": "image-gateway-admin check; journalctl -u 'image-gateway*' -o cat --since -15m | grep -E '\"status\": 40[134]' | grep -oE '\"(client|image)\": \"[^\"]+\"' | sort | uniq -c | sort -n | tail"
  },
  "answers_mostly": {
    "alert": "ImageGatewayAnswersChanged",
    "command": "image-gateway-admin check; journalctl -u 'image-gateway*' -o cat --since -15m | grep -E '\"status\": 40[134]' | grep -oE '\"(client|image)\": \"[^\"]+\"' | sort | uniq -c | sort -n | tail"
  },
  "nginx_silent": {
    "alert": "ImageGatewayNginxSilent",
    "command": "systemctl status nginx | head -5; tail -20 /var/log/nginx/error.log; image-gateway-admin check --nginx /etc/nginx"
  },
  "nginx_unheard": {
    "alert": "ImageGatewayNginxUnheard",
    "command": "grep -A5 'upstream image_gateway_admin' /etc/nginx/conf.d/upstream.conf; tail -20 /var/log/nginx/error.log; image-gateway-admin check --nginx /etc/nginx"
  },
  "nginx_asks_wrong_port": {
    "alert": "ImageGatewayNginxAsksWrongPort",
    "command": "grep -A5 'upstream image_gateway_admin' /etc/nginx/conf.d/upstream.conf; image-gateway-admin check --nginx /etc/nginx"
  },
  "dependency_down": {
    "alert": "ImageGatewayDependencyDown",
    "command": "curl -s http://{{ $labels.instance }}/readyz; image-gateway-admin check"
  },
  "dependency_degraded": {
    "alert": "ImageGatewayDependencyDown",
    "command": "curl -s http://{{ $labels.instance }}/readyz; image-gateway-admin check"
  },
  "changes_not_heard": {
    "alert": "ImageGatewayChangesNotHeard",
    "command": "image-gateway-admin check"
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
  "nginx_files_old": {
    "alert": "ImageGatewayNginxFilesOld",
    "command": "image-gateway-admin check --nginx /etc/nginx"
  },
  "open_files_short": {
    "alert": "ImageGatewayOpenFilesShort",
    "command": "image-gateway-admin check"
  },
  "workers_missing": {
    "alert": "ImageGatewayWorkersMissing",
    "command": "curl -s http://{{ $labels.instance }}/readyz"
  },
  "workers_end": {
    "alert": "ImageGatewayWorkersEnd",
    "command": "journalctl -u 'image-gateway*' -o cat --since -15m | grep 'worker ended, starting another' | tail"
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
