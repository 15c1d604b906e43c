#!/usr/bin/env bash
# Run a command in a chroot with the CPythons that are newer than this Debian.
#   .ci/newpythons.sh COMMAND...       e.g. .ci/newpythons.sh .ci/test-python.sh 3.15 python3.15
# Root only. The chroot is Debian unstable, made once (a minute) and kept between runs.
#
# Every mount lies in a mount namespace of its own that ends with this script, however it
# ends: nothing of the host is ever mounted in a folder that somebody may remove. The
# project stands at /src, pip's cache and settings are those of the host, and the kernel
# is the same, so /proc, sockets and ptrace work as outside.
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
cache=${LIVEHEAP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/liveheap}
pip_cache=${PIP_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pip}
root=$cache/sid-$(dpkg --print-architecture)
packages=(python3.14-dev python3.14-venv python3.15-dev python3.15-venv gcc libc6-dev
  make ca-certificates openssh-server openssh-client procps)

inside() {
  mount --make-rprivate /
  mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  mount --rbind /proc "$root/proc"
  mount --rbind /sys "$root/sys"
  make_devices
  share "$project" /src
  mkdir -p "$pip_cache"
  share "$pip_cache" /var/cache/pip
  share_settings
  cp -f /etc/resolv.conf /etc/hosts "$root/etc/"
  exec chroot "$root" env HOME=/root TMPDIR=/tmp PIP_CACHE_DIR=/var/cache/pip \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    sh -c 'cd /src && exec "$@"' sh "$@"
}

# A /dev of its own: root in there can break nothing of the host's.
make_devices() {
  local name
  mount -t tmpfs -o mode=755 tmpfs "$root/dev"
  for name in null zero full random urandom tty; do
    share "/dev/$name" "/dev/$name"
  done
  mkdir "$root/dev/pts" "$root/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
  mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"
}

# Show a file or folder of the host at a path in the chroot.
share() {
  local from=$1 to=$root$2
  if [ -d "$from" ]; then
    [ -d "$to" ] || { rm -f "$to" && mkdir -p "$to"; }
  else
    mkdir -p "$(dirname "$to")"
    [ -e "$to" ] || : >"$to"
  fi
  mount --bind "$from" "$to"
}

# pip finds inside what it finds outside: its settings, certificates and local indexes
# (whose files lie beside the folder `simple`).
share_settings() {
  local path
  for path in /etc/pip.conf "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf"; do
    [ ! -f "$path" ] || share "$path" "${path/#$HOME/\/root}"
  done
  for path in "${SSL_CERT_FILE:-}" "${PIP_CERT:-}" "${REQUESTS_CA_BUNDLE:-}"; do
    [ ! -f "$path" ] || share "$path" "$path"
  done
  python3 -m pip config list 2>/dev/null | grep -oE "(file://|[ '=])/[^ '\\]+" |
    sed -E "s,^(file://|[ '=]),,; s,/simple/?$,," | sort -u | while read -r path; do
    [ ! -d "$path" ] || share "$path" "$path"
  done
}

make_root() {
  local mirror
  "$project/.ci/system.sh" debootstrap
  mirror=$(apt-get indextargets --format '$(REPO_URI)' \
    'Created-By: Packages' 'Origin: Debian' 2>/dev/null | grep -v security | head -1)
  rm -rf --one-file-system "$root.part"
  mkdir -p "$cache"
  debootstrap --variant=minbase --include=ca-certificates sid "$root.part" \
    ${mirror:+"$mirror"} >"$cache/debootstrap.log" || { tail -5 "$cache/debootstrap.log"; exit 1; }
  printf '#!/bin/sh\nexit 101\n' >"$root.part/usr/sbin/policy-rc.d"
  chmod 755 "$root.part/usr/sbin/policy-rc.d"
  echo force-unsafe-io >"$root.part/etc/dpkg/dpkg.cfg.d/unsafe-io"
  cp /etc/resolv.conf /etc/hosts "$root.part/etc/"
  chroot "$root.part" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >>"$cache/debootstrap.log" 2>&1 ||
    { tail -5 "$cache/debootstrap.log"; exit 1; }
  chroot "$root.part" apt-get clean
  echo "${packages[*]}" >"$root.part/etc/liveheap-packages"
  rm -rf --one-file-system "$root"
  mv "$root.part" "$root"
}

if [ "${1:-}" = --inside ]; then
  shift
  inside "$@"
fi
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
[ "$(cat "$root/etc/liveheap-packages" 2>/dev/null)" = "${packages[*]}" ] || make_root
exec 9>&-
exec unshare --mount -- "$0" --inside "$@"
