#!/bin/sh
# Infisical starts with a key of a wrong form, and then crashes over and over. So look at the forms first.
set -eu
. /run/infisical/env
fail() { echo "check: $1" >&2; exit 1; }
printf %s "$ENCRYPTION_KEY" | grep -Eqx '[0-9a-f]{32}' || fail "ENCRYPTION_KEY is not 16 bytes as 32 hexadecimal digits"
printf %s "$AUTH_SECRET" | grep -Eqx '[A-Za-z0-9+/]{43}=' || fail "AUTH_SECRET is not 32 bytes in base64"
case $DB_CONNECTION_URI in postgresql://?*:?*@?*:?*/?*) ;; *) fail "DB_CONNECTION_URI is not complete" ;; esac
case $REDIS_URL in redis://:?*@?*:?*/?* | rediss://:?*@?*:?*/?*) ;; *) fail "REDIS_URL is not complete" ;; esac
