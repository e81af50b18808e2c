#!/bin/sh
# Makes the database cluster on the first start, and then becomes the server.
#
# Understood: POSTGRES_PASSWORD, POSTGRES_USER, POSTGRES_DB, POSTGRES_INITDB_ARGS (each also with _FILE: a file that holds it),
# POSTGRES_HOST_AUTH_METHOD, PGDATA, and /docker-entrypoint-initdb.d/*.sh, *.sql and *.sql.gz, in the order of their names.
#
# The cluster is made in a folder of its own within PGDATA, and moved to its place once it is complete. So whatever interrupts the
# first start, the next one begins anew, or goes on moving; a cluster without password or databases is never served.
set -eu

say() { echo "docker-entrypoint: $*" >&2; }
die() { say "$*"; exit 1; }

# from_file NAME DEFAULT: sets NAME from the file that NAME_FILE names.
from_file() {
    eval "value=\${$1-} file=\${$1_FILE-}"
    # shellcheck disable=SC2154 # eval sets it
    [ -z "$value" ] || [ -z "$file" ] || die "$1 and $1_FILE are both set"
    [ -z "$file" ] || value=$(cat "$file") || die "$1_FILE: $file cannot be read"
    [ -n "$value" ] || value=$2
    eval "$1=\$value"
    unset "$1_FILE"
}

# Whether the arguments start a server, and not something that only prints.
is_server() {
    for argument; do
        case $argument in
        '-?' | --help | --describe-config | -V | --version | -C | -C?* | --single | --check | --boot) return 1 ;;
        esac
    done
}

# The server of the first start: on a socket in a folder that nobody else can enter.
sql() {
    psql -X -v ON_ERROR_STOP=1 --no-password --username "$POSTGRES_USER" "$@"
}

run_scripts() {
    for script in /docker-entrypoint-initdb.d/*; do
        case $script in
        *.sh)
            say "running $script"
            # What is not executable is read by this shell, in one of its own, where it cannot change what follows.
            # shellcheck source=/dev/null
            if [ -x "$script" ]; then "$script"; else (. "$script"); fi
            ;;
        *.sql)
            say "running $script"
            sql --dbname "$POSTGRES_DB" -q -f "$script"
            ;;
        *.sql.gz)
            say "running $script"
            # Not through a pipe, which would hide that the file is broken.
            gunzip -c "$script" >"$sockets/script.sql"
            sql --dbname "$POSTGRES_DB" -q -f "$sockets/script.sql"
            ;;
        '/docker-entrypoint-initdb.d/*') ;;
        *) say "leaving out $script" ;;
        esac
    done
}

# make_cluster FOLDER [ARGUMENT OF THE SERVER]…
make_cluster() {
    folder=$1
    shift
    if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
        die "the superuser needs a password: set POSTGRES_PASSWORD_FILE or POSTGRES_PASSWORD"
    fi
    sockets=$(mktemp -d)
    chmod 0700 "$sockets"
    printf '%s\n' "$POSTGRES_PASSWORD" >"$sockets/password"
    [ -n "$POSTGRES_PASSWORD" ] && password="--pwfile=$sockets/password" || password=
    # Words, as people write them; no word of it is a pattern.
    set -f
    # shellcheck disable=SC2086 # split on purpose
    initdb -D "$folder" --username="$POSTGRES_USER" ${password:+"$password"} --auth-local=trust --auth-host=scram-sha-256 $POSTGRES_INITDB_ARGS
    set +f
    rm "$sockets/password"
    # initdb lets in connections of this machine alone; to a container, its clients are other machines.
    printf '\nhost all all all %s\n' "$POSTGRES_HOST_AUTH_METHOD" >>"$folder/pg_hba.conf"
    printf "\nlisten_addresses = '*'\n" >>"$folder/postgresql.conf"

    # With the arguments of the real server, so that its configuration is what the scripts find.
    postgres "$@" -D "$folder" -c listen_addresses= -c "unix_socket_directories=$sockets" -c unix_socket_permissions=0700 &
    server=$!
    trap 'kill -INT "$server" 2>/dev/null || true; wait "$server" || true; rm -rf "$sockets"' EXIT
    trap 'exit 143' TERM INT
    export PGHOST="$sockets"
    until pg_isready -q; do
        kill -0 "$server" 2>/dev/null || die "the server does not start; see above"
        sleep 0.1
    done
    if [ "$POSTGRES_DB" != postgres ]; then
        printf '%s\n' 'CREATE DATABASE :"name";' | sql --dbname postgres -q -v name="$POSTGRES_DB"
    fi
    run_scripts
    # The fast shutdown, with a checkpoint.
    kill -INT "$server"
    wait "$server"
    trap - EXIT TERM INT
    rm -rf "$sockets"
    unset PGHOST
    sync
    : >"$folder/.complete"
}

# move_cluster FOLDER: to where it belongs, the file that makes a folder a cluster last.
move_cluster() {
    sync
    for entry in "$1"/*; do
        [ "$entry" = "$1/PG_VERSION" ] || [ ! -e "$entry" ] || mv "$entry" "$PGDATA/"
    done
    sync
    mv "$1/PG_VERSION" "$PGDATA/"
    rm -rf "$1"
}

[ "${1-}" ] && [ "${1#-}" = "$1" ] || set -- postgres "$@"

if [ "$1" = postgres ] && is_server "$@"; then
    [ "$(id -u)" != 0 ] || die "PostgreSQL does not run as root: leave the user of the image, which is 70:70"
    new=$PGDATA/.new
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        [ -w "$PGDATA" ] || die "$PGDATA must belong to $(id -u):$(id -g)"
        if [ ! -e "$new/.complete" ]; then
            for entry in "$PGDATA"/*; do
                [ ! -e "$entry" ] || [ "$entry" = "$PGDATA/lost+found" ] || die "$PGDATA holds no cluster, but files: $entry"
            done
            rm -rf "$new"
            from_file POSTGRES_PASSWORD ""
            from_file POSTGRES_USER postgres
            from_file POSTGRES_DB "$POSTGRES_USER"
            from_file POSTGRES_INITDB_ARGS ""
            : "${POSTGRES_HOST_AUTH_METHOD:=scram-sha-256}"
            shift
            umask 077
            make_cluster "$new" "$@"
            set -- postgres "$@"
            say "the cluster is made"
        fi
        move_cluster "$new"
    fi
    unset POSTGRES_PASSWORD POSTGRES_PASSWORD_FILE
fi
exec "$@"
