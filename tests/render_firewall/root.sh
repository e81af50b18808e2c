# A copy of ufw's files in $1, as if just installed.
set -eu
root=$1
mkdir -p "$root/etc/default" "$root/etc/ufw" "$root/lib/ufw" "$root/usr/share/ufw"
cp /etc/default/ufw "$root/etc/default/"
cp -r /etc/ufw/. "$root/etc/ufw/"
cp -r /lib/ufw/. "$root/lib/ufw/"
cp -r /usr/share/ufw/. "$root/usr/share/ufw/"
# As the package installs them, whatever this machine has made of them since.
for name in before before6 after after6 user user6; do
    cp "/usr/share/ufw/iptables/$name.rules" "$root/etc/ufw/"
done
printf 'ENABLED=no\nLOGLEVEL=low\n' >"$root/etc/ufw/ufw.conf"
# Kernel parameters are no part of this, and some belong to the whole machine.
sed -i 's/^IPT_SYSCTL=.*/IPT_SYSCTL=/; s/^IPV6=.*/IPV6=yes/' "$root/etc/default/ufw"
