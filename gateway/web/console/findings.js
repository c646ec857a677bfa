// Written by `make docs`: the sentence of each finding, its alert and its command.
export const FINDINGS = {
  "draining": {
    "en": "The gateway is stopping.",
    "zh": "网关正在停止。",
    "alert": "",
    "command": "image-gateway-admin check"
  },
  "canary_fails": {
    "en": "Asked as a user asks, {via} does not answer as it should ({check}).",
    "zh": "以用户的方式请求，{via} 的响应不正确（{check}）。",
    "alert": "ImageGatewayCanaryFails",
    "command": "image-gateway-admin check | grep -A1 'from outside'"
  },
  "canary_wrong": {
    "en": "The canary cannot show anything: its image is not what the configuration says ({check}).",
    "zh": "探测图片与配置不符，无法判断（{check}）。",
    "alert": "ImageGatewayCanaryFails",
    "command": "image-gateway-admin check | grep -A1 'from outside'"
  },
  "requests_fail": {
    "en": "{failed} of {requests} requests of the last minute failed.",
    "zh": "最近一分钟 {requests} 个请求中有 {failed} 个失败。",
    "alert": "ImageGatewayErrors",
    "command": "journalctl -u 'image-gateway*' -o cat --since -15m | grep -oE '\"(code|cos_code)\": \"\\w+\"' | sort | uniq -c"
  },
  "cos_refuses": {
    "en": "COS refuses: {code}",
    "zh": "COS 拒绝请求：{code}",
    "alert": "ImageGatewayOriginRefuses",
    "command": "image-gateway-admin check"
  },
  "cos_errors": {
    "en": "COS fails: {code}",
    "zh": "COS 出错：{code}",
    "alert": "ImageGatewayOriginFailing",
    "command": "image-gateway-admin check"
  },
  "objects_missing": {
    "en": "Rows name objects that COS does not have: {code}",
    "zh": "COS 中没有某些行所指的对象：{code}",
    "alert": "ImageGatewayObjectsMissing",
    "command": "journalctl -u 'image-gateway*' -o cat --since -15m | grep NoSuchKey | grep -oE '\"image\": \"[^\"]+\"' | sort | uniq -c"
  },
  "objects_unprocessable": {
    "en": "COS cannot process some objects: {code}",
    "zh": "COS 无法处理某些对象：{code}",
    "alert": "ImageGatewayObjectsUnprocessable",
    "command": "journalctl -u 'image-gateway*' -o cat --since -15m | grep '\"variant\"' | grep -oE '\"image\": \"[^\"]+\"' | sort | uniq -c | sort -n | tail"
  },
  "bucket_slow": {
    "en": "{count} of {requests} answers of the bucket {bucket} took more than a second to begin.",
    "zh": "存储桶 {bucket} 的 {requests} 个应答中有 {count} 个超过一秒才开始。",
    "alert": "ImageGatewayBucketSlow",
    "command": "image-gateway-admin check"
  },
  "answers_changed": {
    "en": "{percent} % of the requests for images get {status}; it was {before} % in the hour before.",
    "zh": "{percent} % 的图片请求得到 {status}；前一小时为 {before} %。",
    "alert": "ImageGatewayAnswersChanged",
    "command": "image-gateway-admin check; journalctl -u 'image-gateway*' -o cat --since -15m | grep -E '\"status\": 40[134]' | grep -oE '\"(client|image)\": \"[^\"]+\"' | sort | uniq -c | sort -n | tail"
  },
  "answers_mostly": {
    "en": "{percent} % of the requests for images get {status}.",
    "zh": "{percent} % 的图片请求得到 {status}。",
    "alert": "ImageGatewayAnswersChanged",
    "command": "image-gateway-admin check; journalctl -u 'image-gateway*' -o cat --since -15m | grep -E '\"status\": 40[134]' | grep -oE '\"(client|image)\": \"[^\"]+\"' | sort | uniq -c | sort -n | tail"
  },
  "nginx_silent": {
    "en": "The nginx {nginx} has not asked for changes for {seconds} s.",
    "zh": "nginx {nginx} 已有 {seconds} 秒没有查询变更。",
    "alert": "ImageGatewayNginxSilent",
    "command": "systemctl status nginx | head -5; tail -20 /var/log/nginx/error.log; image-gateway-admin check --nginx /etc/nginx"
  },
  "nginx_unheard": {
    "en": "An nginx with a cache asks for no changes, so it may send images that were changed or withdrawn.",
    "zh": "带缓存的 nginx 没有查询变更，可能仍发送已更改或已撤下的图片。",
    "alert": "ImageGatewayNginxUnheard",
    "command": "grep -A5 'upstream image_gateway_admin' /etc/nginx/conf.d/upstream.conf; tail -20 /var/log/nginx/error.log; image-gateway-admin check --nginx /etc/nginx"
  },
  "nginx_asks_wrong_port": {
    "en": "An nginx asks the public port for changes: it must ask the admin port.",
    "zh": "nginx 向公共端口查询变更：应查询管理端口。",
    "alert": "ImageGatewayNginxAsksWrongPort",
    "command": "grep -A5 'upstream image_gateway_admin' /etc/nginx/conf.d/upstream.conf; image-gateway-admin check --nginx /etc/nginx"
  },
  "dependency_down": {
    "en": "{dependency} does not answer.",
    "zh": "{dependency} 没有响应。",
    "alert": "ImageGatewayDependencyDown",
    "command": "curl -s http://{{ $labels.instance }}/readyz; image-gateway-admin check"
  },
  "dependency_degraded": {
    "en": "{dependency} refuses a part of the requests.",
    "zh": "{dependency} 拒绝了部分请求。",
    "alert": "ImageGatewayDependencyDown",
    "command": "curl -s http://{{ $labels.instance }}/readyz; image-gateway-admin check"
  },
  "changes_not_heard": {
    "en": "This gateway does not hear its own heartbeats, so it reads each row again.",
    "zh": "网关收不到自己的心跳，因此每次重新读取行。",
    "alert": "ImageGatewayChangesNotHeard",
    "command": "image-gateway-admin check"
  },
  "bucket_paused": {
    "en": "Requests to the bucket {bucket} are paused, since its objects failed in a row.",
    "zh": "存储桶 {bucket} 的对象连续失败，请求已暂停。",
    "alert": "ImageGatewayBucketFailing",
    "command": "image-gateway-admin check"
  },
  "clock_differs": {
    "en": "The clock of this machine differs from COS's by {seconds} s.",
    "zh": "本机时钟与 COS 相差 {seconds} 秒。",
    "alert": "ImageGatewayClockWrong",
    "command": "timedatectl"
  },
  "credentials_not_refreshed": {
    "en": "The source of COS credentials gives none, and the old ones are used until they end.",
    "zh": "COS 凭证的来源没有给出新凭证，旧凭证用到到期为止。",
    "alert": "ImageGatewayCredentialsNotRefreshed",
    "command": "image-gateway-admin check"
  },
  "credentials_end": {
    "en": "The COS credentials end in {seconds} s.",
    "zh": "COS 凭证将在 {seconds} 秒后失效。",
    "alert": "ImageGatewayCredentialsEndSoon",
    "command": "image-gateway-admin check"
  },
  "credentials_ended": {
    "en": "There are no valid COS credentials: no image that is not cached can be served.",
    "zh": "没有有效的 COS 凭证：未缓存的图片无法提供。",
    "alert": "ImageGatewayCredentialsEndSoon",
    "command": "image-gateway-admin check"
  },
  "trigger_missing": {
    "en": "Changes of rows are not notified: the trigger is missing, disabled, or sends another id.",
    "zh": "行的更改没有通知：触发器缺少、被禁用，或发送另一个 id。",
    "alert": "ImageGatewayChangesNotNotified",
    "command": "image-gateway-admin sql changes > changes.sql && psql \"${DSN:?is not set: the DSN of the owner of the table}\" -v ON_ERROR_STOP=1 -f changes.sql"
  },
  "reload_refused": {
    "en": "The last reload was refused, and the old configuration stays: the log names each mistake.",
    "zh": "上次重新加载被拒绝，仍使用旧配置：日志列出了每个错误。",
    "alert": "ImageGatewayConfigReloadFailed",
    "command": "image-gateway-admin check"
  },
  "log_lines_dropped": {
    "en": "{count} lines of the log were lost in the last 15 minutes: its reader is too slow, or its disk is full.",
    "zh": "最近 15 分钟丢失了 {count} 行日志：日志的读取方太慢，或磁盘已满。",
    "alert": "ImageGatewayLogLinesDropped",
    "command": "systemctl status systemd-journald | head -20; df -h /var/log"
  },
  "nginx_files_old": {
    "en": "{count} requests in the last 15 minutes came through nginx files of another release.",
    "zh": "最近 15 分钟有 {count} 个请求经过其他版本的 nginx 文件。",
    "alert": "ImageGatewayNginxFilesOld",
    "command": "image-gateway-admin check --nginx /etc/nginx"
  },
  "open_files_short": {
    "en": "The gateway paused accepting connections {count} times in 15 minutes: open files ran short.",
    "zh": "最近 15 分钟因打开的文件不足，{count} 次暂停接受连接。",
    "alert": "ImageGatewayOpenFilesShort",
    "command": "image-gateway-admin check"
  },
  "workers_missing": {
    "en": "{ready} of {configured} workers answer.",
    "zh": "{configured} 个工作进程中有 {ready} 个响应。",
    "alert": "ImageGatewayWorkersMissing",
    "command": "curl -s http://{{ $labels.instance }}/readyz"
  },
  "workers_end": {
    "en": "{count} workers ended in the last 15 minutes.",
    "zh": "最近 15 分钟有 {count} 个工作进程退出。",
    "alert": "ImageGatewayWorkersEnd",
    "command": "journalctl -u 'image-gateway*' -o cat --since -15m | grep 'worker ended, starting another' | tail"
  },
  "loop_stuck": {
    "en": "The event loop of a worker made no turn for 10 seconds, and the worker was replaced: {count} since the start.",
    "zh": "某个工作进程的事件循环 10 秒没有运转，已被替换；启动以来共 {count} 次。",
    "alert": "ImageGatewayLoopStuck",
    "command": "journalctl -u 'image-gateway*' -o cat --since -1h | grep -A40 'the event loop was stuck'"
  },
  "audit_lines_lost": {
    "en": "{count} lines are missing in the audit log since 15 minutes: its disk is full, hangs, or may not be written.",
    "zh": "最近 15 分钟审计日志缺少 {count} 行：磁盘已满、停滞，或无法写入。",
    "alert": "ImageGatewayAuditIncomplete",
    "command": "journalctl -u 'image-gateway*' -o cat --since -1h | grep 'audit line not written'"
  },
  "renewals_late": {
    "en": "Renewals are {seconds} s late.",
    "zh": "续签晚了 {seconds} 秒。",
    "alert": "ImageGatewayRenewalsLate",
    "command": "image-gateway-admin queue list"
  },
  "renewals_dead": {
    "en": "{count} renewals failed for good.",
    "zh": "{count} 个续签彻底失败。",
    "alert": "ImageGatewayRenewalsGivenUp",
    "command": "image-gateway-admin queue dead"
  },
  "purges_late": {
    "en": "Changes of images reach the CDN {seconds} s late.",
    "zh": "图片更改晚 {seconds} 秒到达 CDN。",
    "alert": "ImageGatewayPurgesLate",
    "command": "image-gateway-admin queue list --purges"
  },
  "purges_dead": {
    "en": "{count} purges were given up, so the CDN may show old images.",
    "zh": "放弃了 {count} 个清除请求，CDN 可能仍显示旧图片。",
    "alert": "ImageGatewayPurgesGivenUp",
    "command": "image-gateway-admin queue dead --purges"
  },
  "redis_evicts": {
    "en": "Redis evicts keys without an end: a full Redis loses the queue of renewals and the counts of uses.",
    "zh": "Redis 会淘汰没有期限的键：写满时会丢失续签队列和使用次数。",
    "alert": "ImageGatewayRedisEvicts",
    "command": "image-gateway-admin check"
  }
};
