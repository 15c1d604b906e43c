#!/usr/bin/env bash
# Install the named Debian packages that are missing, as root; else say what that skips.
# No service is started: policy-rc.d forbids it for as long as apt runs.
#   .ci/system.sh PACKAGE[=COMMAND]...       with COMMAND: only if nothing provides it
set -euo pipefail
missing=()
for wanted in "$@"; do
  package=${wanted%%=*}
  [[ $wanted != *=* ]] || ! command -v "${wanted#*=}" >/dev/null || continue
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' ||
    missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "skipped: cannot install ${missing[*]} (not root, or no apt); tests that need them skip"
  exit 0
fi
mkdir -p build
exec 9>build/system.lock
flock 9 # .ci/run makes the chroot beside the tests
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
install=(apt-get install -y -qq --no-install-recommends "${missing[@]}")
# The lists that are here usually do, and an old chroot's cannot be renewed.
"${install[@]}" >/dev/null 2>&1 || { apt-get update -qq && "${install[@]}" >/dev/null; }
echo "installed: ${missing[*]}"
