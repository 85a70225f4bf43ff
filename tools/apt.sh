# Sourced after env.sh by the scripts that install Debian packages.
# shellcheck shell=bash

# Debian packages among the arguments that are not installed.
missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || echo "$package"
    done
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@"
}

apt_install_refreshed() {
    apt_install "$@" || { say "Refreshing the package lists"; as_root apt-get update; apt_install "$@"; }
}

# Installs packages without starting a service of theirs, now or at the next boot; what is installed already is left
# as it is. A container without systemd would start them by their init scripts.
install_idle() {
    local package missing
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || die "please install:" $missing
    say "Installing Debian packages:" $missing
    (
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            trap 'as_root rm -f "$policy"' EXIT
            printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
            as_root chmod 755 "$policy"
        fi
        apt_install_refreshed $missing
    ) || die "these packages could not be installed:" $missing
    # Only where this very script brought the package, so that nobody's own service is switched off.
    for package in $missing; do
        as_root systemctl disable --quiet "$package.service" 2>/dev/null || true
        as_root systemctl disable --quiet "${package%-server}.service" 2>/dev/null || true
    done
}
