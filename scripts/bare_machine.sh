#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs a command as a newcomer would: on a bare Debian 12 (git, make, sudo and certificates, nothing else), in a clone of
# what is committed here.
#
#   scripts/bare_machine.sh 'make demo && make test'
#
# Needs root, and Debian's debootstrap, which is installed if it is missing. The bare system is made once, under
# $BARE_MACHINE (/var/tmp/mflux-bare-machine), and copied for every run.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || { sed -n '3,9p' "$0" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "$0: root is needed to make a system of its own" >&2; exit 1; }

place=${BARE_MACHINE:-/var/tmp/mflux-bare-machine}
system=$place/system
# How this machine reaches Debian's packages and PyPI is carried over; most machines have nothing of the kind.
settings=(/etc/apt/sources.list /etc/apt/sources.list.d /etc/pip.conf /etc/xdg/pip /usr/local/share/ca-certificates /etc/ssl/certs)

make_system() {
  command -v debootstrap >/dev/null || { apt-get update -qq; apt-get install -y -qq --no-install-recommends debootstrap >/dev/null; }
  rm -rf "$system"
  local mirror
  mirror=$(awk '$1 == "URIs:" { print $2; exit }
    $1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /:\/\//) { print $i; exit } }' \
    /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null || true)
  debootstrap --variant=minbase --include=ca-certificates,git,make,sudo bookworm "$system" "$mirror" >"$place/log" 2>&1 ||
    { tail "$place/log" >&2; exit 1; }
  local path
  for path in "${settings[@]}"; do
    [ -e "$path" ] || continue
    rm -rf "${system:?}$path"
    mkdir -p "$system$(dirname "$path")"
    cp -a "$path" "$system$path"
  done
  [ -e /etc/apt/sources.list ] || : >"$system/etc/apt/sources.list"  # each source once
  touch "$system/.ready"
}

mkdir -p "$place"
[ -e "$system/.ready" ] || make_system
root=$(mktemp -d "$place/run.XXXXXX")
cleanup() {
  local mount
  for mount in opt dev/shm dev/pts dev proc; do umount -l "$root/$mount" 2>/dev/null || true; done
  rm -rf --one-file-system "$root"
}
trap cleanup EXIT
cp -a "$system/." "$root/"
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --make-rslave "$root/dev"
if [ -d /opt ]; then mkdir -p "$root/opt" && mount --bind -o ro /opt "$root/opt"; fi  # wheels that lie there, if any
git clone -q --no-hardlinks . "$root/project"
seconds=$SECONDS status=0
# shellcheck disable=SC2016
chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  ${PIP_FIND_LINKS:+"PIP_FIND_LINKS=$PIP_FIND_LINKS"} ${MFLUX_WERROR:+"MFLUX_WERROR=$MFLUX_WERROR"} \
  bash -c 'cd /project && eval "$1"' bash "$*" </dev/null || status=$?
echo "Bare machine: '$*' ended with status $status after $((SECONDS - seconds)) s"
exit "$status"
