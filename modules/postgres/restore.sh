#!/bin/sh
# Reads a dump made by `pg_dumpall --clean --if-exists` from its input, while the users of the databases keep running.
set -eu

# psql as the superuser, over the socket.
sql() {
    psql -X -q -U postgres -d postgres "$@"
}

# A database that is connected to cannot be dropped, and its users come back at once: so its doors are closed first. The dump makes
# each database anew, with open doors; those that it does not reach are opened again.
errors=$(mktemp)
reopen() {
    sql >/dev/null <<'SQL'
SELECT format('ALTER DATABASE %I WITH ALLOW_CONNECTIONS true', datname) FROM pg_database
WHERE NOT datistemplate AND NOT datallowconn
\gexec
SQL
    rm -f "$errors"
}
trap reopen EXIT

sql -v ON_ERROR_STOP=1 >/dev/null <<'SQL'
SELECT format('ALTER DATABASE %I WITH ALLOW_CONNECTIONS false', datname) FROM pg_database
WHERE NOT datistemplate AND datname <> 'postgres'
\gexec
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname IS NOT NULL AND datname <> 'postgres';
SQL

# The dump also drops and makes the role `postgres`, which cannot work and does not matter. So errors do not stop it; every other one
# makes the restore fail in the end.
sql -o /dev/null 2>"$errors" || { cat "$errors" >&2; exit 1; }
if grep 'ERROR:' "$errors" | grep -v -e 'current user cannot be dropped' -e 'role "postgres" already exists' >&2; then
    echo "restore: the dump was read with the errors above" >&2
    exit 1
fi
