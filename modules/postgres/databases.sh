#!/bin/sh
# Makes the databases and roles that the host declares, and says so with /tmp/done. On failure it ends, and is started again.
set -eu
rm -f /tmp/done

# A statement that sets a password must not reach the log of the server, not even when it fails.
export PGOPTIONS='-c log_min_error_statement=panic -c log_statement=none -c log_min_duration_statement=-1'

# An empty password would be taken for none.
for file in /run/databases/* /run/databases/.superuser; do
    [ -e "$file" ] || continue
    [ -s "$file" ] || { echo "databases: $file is empty" >&2; exit 1; }
done

psql -X -q -v ON_ERROR_STOP=1 -h /sockets -U postgres -d postgres -f /etc/postgresql/databases.sql
echo "databases: everything is as declared"
touch /tmp/done

# It stays, so that its health tells that this is done.
exec sleep infinity
