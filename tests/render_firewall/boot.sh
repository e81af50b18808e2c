# The real ufw starts and reloads with the block in its after.rules, in a network namespace of its own. $1 is its root.
set -eu
root=$1
ip link set lo up
ufw() { command ufw --rootdir="$root" --datadir="$root" "$@" >>"$root/output" 2>&1; }
show() {
    for program in iptables ip6tables; do
        echo "$1 $program: $($program -S DOCKER-USER | grep -c -- '-j forge-docker') jump, $($program -S forge-docker | grep -c -- '^-A') rules, $($program -S | grep -c -- '-A ufw6\?-user-input') for the host"
    done
}
ufw --force enable
show boot
# Docker starts.
for program in iptables ip6tables; do
    $program -A DOCKER-USER -j RETURN
    $program -I FORWARD -j DOCKER-USER
done
ufw reload
show reload
ufw reload
show again
for program in iptables ip6tables; do
    type=
    [ $program = iptables ] || type=6
    $program-restore -n <"$root/etc/ufw/user$type.rules"
done
show replaced
