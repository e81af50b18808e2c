# Three network namespaces: `out` is the outside, this one is the host, `ctr` and `two` are containers on two of its bridges.
# What Docker does is done here by hand: rewriting what comes to published ports, and accepting whatever goes to a bridge.
# Prints one line for each try. $1 is a folder with the rules.
set -eu
rules=$1
mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns
ip link set lo up
# Addresses are good at once.
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
for ns in out ctr two; do
    ip netns add $ns
    ip -n $ns link set lo up
    ip netns exec $ns sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'
done
ip link add ext type veth peer name eth0 netns out
ip addr add 192.0.2.1/24 dev ext
ip addr add 2001:db8:1::1/64 dev ext nodad
ip link set ext up
ip -n out addr add 192.0.2.2/24 dev eth0
ip -n out addr add 2001:db8:1::2/64 dev eth0 nodad
ip -n out link set eth0 up
number=0
for ns in ctr two; do
    number=$((number + 1))
    ip link add fg-$ns type bridge
    ip link add v-$ns type veth peer name eth0 netns $ns
    ip link set v-$ns master fg-$ns
    ip addr add 10.99.$number.1/24 dev fg-$ns
    ip addr add fd00:$number::1/64 dev fg-$ns nodad
    ip link set fg-$ns up
    ip link set v-$ns up
    ip -n $ns addr add 10.99.$number.2/24 dev eth0
    ip -n $ns addr add fd00:$number::2/64 dev eth0 nodad
    ip -n $ns link set eth0 up
    ip -n $ns route add default via 10.99.$number.1
    ip -n $ns route add default via fd00:$number::1
done
ip -n out route add 10.99.0.0/16 via 192.0.2.1
ip -n out route add fd00::/16 via 2001:db8:1::1
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding

for program in iptables ip6tables; do
    to=10.99.1.2
    [ $program = iptables ] || to=[fd00:1::2]
    $program -t nat -N DOCKER
    $program -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
    for port in 8080 8081 8082 8083 8084; do
        $program -t nat -A DOCKER -p tcp --dport $port -j DNAT --to-destination $to:$((port - 8000))
    done
    $program -A FORWARD -o fg-+ -j ACCEPT
    $program -A FORWARD -i fg-+ -j ACCEPT
done

cat >"$rules/server.py" <<'PYTHON'
import socket, sys, threading
def serve(listener):
    while True:
        connection, _ = listener.accept()
        connection.sendall(b"hello\n")
        connection.close()
for port in map(int, sys.argv[1:]):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    threading.Thread(target=serve, args=(listener,)).start()
print("ready", flush=True)
PYTHON
cat >"$rules/client.py" <<'PYTHON'
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1) as connection:
        print("open" if connection.recv(6) == b"hello\n" else "odd")
except OSError:
    print("closed")
PYTHON
ip netns exec ctr python3 "$rules/server.py" 80 81 82 83 84 >"$rules/ready-ctr" &
servers=$!
ip netns exec out python3 "$rules/server.py" 9000 >"$rules/ready-out" &
servers="$servers $!"
trap 'kill $servers' EXIT
for ns in ctr out; do
    tries=0
    until [ -s "$rules/ready-$ns" ]; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || { echo "no server in $ns" >&2; exit 1; }
        sleep 0.05
    done
done

try() {
    echo "$1: $2 -> $3 $4 $(ip netns exec "$2" python3 "$rules/client.py" "$3" "$4")"
}

# Until neighbours have found each other; these are not rewritten ports.
for to in 10.99.1.2 fd00:1::2; do
    for ns in out two; do
        tries=0
        until [ "$(ip netns exec $ns python3 "$rules/client.py" $to 80)" = open ]; do
            tries=$((tries + 1))
            [ $tries -lt 20 ] || { echo "no way from $ns to $to" >&2; exit 1; }
        done
    done
done

matrix() {
    for to in 192.0.2.1 2001:db8:1::1; do
        for port in 8080 8081 8082 8083; do
            try "$1" out $to $port
        done
        try "$1" two $to 8081
    done
    try "$1" ctr 192.0.2.2 9000
    try "$1" ctr 2001:db8:1::2 9000
}

# Docker makes its chain when it starts; somebody has put a rule of their own into it.
for program in iptables ip6tables; do
    $program -N DOCKER-USER
    $program -I FORWARD -j DOCKER-USER
done
matrix unguarded

for program in iptables ip6tables; do
    for round in 1 2 3; do
        $program-restore -n --test <"$rules/$program.after"
        $program-restore -n <"$rules/$program.after"
    done
    echo "$program jumps: $($program -S DOCKER-USER | grep -c -- '-j forge-docker')"
done
matrix guarded
for round in 1 2 3 4 5 6 7; do
    try limited out 192.0.2.1 8084
done

# The live swap: other rules in DOCKER-USER stay, and a bad line changes nothing.
for program in iptables ip6tables; do
    $program -A DOCKER-USER -m comment --comment somebody
    printf '*filter\n:forge-docker - [0:0]\n-A forge-docker -j NOPE\nCOMMIT\n' | $program-restore -n 2>/dev/null && echo "a bad line was accepted"
    echo "$program after a bad line: $($program -S forge-docker | grep -c .) rules"
    $program-restore -n <"$rules/$program.live"
    echo "$program others: $($program -S DOCKER-USER | grep -c somebody), jumps: $($program -S DOCKER-USER | grep -c -- '-j forge-docker')"
done
matrix swapped
