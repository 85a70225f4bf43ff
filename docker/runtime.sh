#!/bin/sh
# Makes a Debian root into one that a service with its private database runs in: runtime.sh MAJOR, as root, in that root.
set -eu
major=$1

# Without this the package would create and start a database of its own, which goahead does not use.
mkdir -p /etc/postgresql-common
echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
export DEBIAN_FRONTEND=noninteractive
apt-get update
# The file above is a configuration file of postgresql-common: keep ours without asking.
apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold "postgresql-$major" ca-certificates
apt-get clean
rm -rf /var/lib/apt/lists/*
useradd --system --uid 10001 --home-dir /var/lib/goahead --create-home --shell /usr/sbin/nologin goahead
