# Gives the commands in $1/commands, one a line, to the real ufw with $1 as its root.
set -eu
root=$1
while read -r line; do
    eval "set -- $line"
    shift
    ufw --rootdir="$root" --datadir="$root" "$@" >>"$root/output" 2>&1 </dev/null
done <"$root/commands"
