#!/bin/sh
# Restarts Docker if daemon.json is newer than the Docker that runs: after a change of it, and not at boot.
set -eu

[ -e /run/docker.pid ] || exit 0
[ -n "$(find /etc/docker/daemon.json -cnewer /run/docker.pid)" ] || exit 0

# Docker 23 and later can tell beforehand that it would not start.
if dockerd --help 2>/dev/null | grep -q -- --validate; then
	dockerd --validate --config-file=/etc/docker/daemon.json
fi
systemctl restart docker.service
