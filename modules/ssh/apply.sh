#!/bin/sh
# Makes sshd take its configuration, or leaves it as it was if the configuration is not good.
set -eu

# sshd wants its folder even to check; where a socket starts sshd, it may not be there yet.
mkdir -p /run/sshd
/usr/sbin/sshd -t

# Ubuntu 24.04 listens in ssh.socket, whose ports a generator takes from the configuration of sshd.
if systemctl --quiet is-active ssh.socket; then
	systemctl daemon-reload
	systemctl restart ssh.socket
fi

# Reloading keeps the sessions that are open.
systemctl try-reload-or-restart ssh.service
