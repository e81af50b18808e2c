#!/bin/sh
# A server with the same files, but without port and data: it ends at once if a line is wrong.
set -u
socket=/tmp/check.sock
redis-server /etc/redis/redis.conf --port 0 --unixsocket "$socket" --dir /tmp --appendonly no --maxmemory 16mb &
server=$!

REDISCLI_AUTH="$(cat /run/redis/password)"
export REDISCLI_AUTH
tries=0
while [ "$tries" -lt 50 ]; do
    kill -0 "$server" 2>/dev/null || break
    if redis-cli -s "$socket" ping 2>/dev/null | grep -q PONG; then
        redis-cli -s "$socket" shutdown nosave >/dev/null 2>&1
        wait "$server"
        exit 0
    fi
    tries=$((tries + 1))
    sleep 0.1
done
kill "$server" 2>/dev/null
wait "$server"
echo "check: Redis does not answer with this configuration and password" >&2
exit 1
