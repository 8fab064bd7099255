#!/usr/bin/env bash
# Unpacks Debian's Prometheus and Alertmanager below build/prometheus, where they are not in PATH: installed,
# the packages would start servers. Needs no root. Does nothing when all are there.
set -euo pipefail
target=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/build/prometheus
PATH=$PATH:$target/usr/bin

packages=()
command -v promtool >/dev/null && command -v prometheus >/dev/null || packages+=(prometheus)
command -v amtool >/dev/null && command -v prometheus-alertmanager >/dev/null || packages+=(prometheus-alertmanager)
((${#packages[@]})) || exit 0

echo "unpacking ${packages[*]} below $target"
apt-cache show "${packages[@]}" &>/dev/null || {
  echo "unpack-prometheus.sh: apt knows no ${packages[*]}: run apt-get update as root" >&2
  exit 1
}
# Owned by whom apt downloads as, where that is another user.
download=$(mktemp -d)
trap 'rm -rf "$download"' EXIT
chmod 755 "$download"
cd "$download"
apt-get download -qq "${packages[@]}" 2>&1 | grep -v '^W: Download is performed unsandboxed' || true
mkdir -p "$target"
for package in "${packages[@]}"; do
  file=$(compgen -G "${package}_*.deb") || { echo "unpack-prometheus.sh: apt-get download got no $package" >&2; exit 1; }
  dpkg-deb -x "$file" "$target"
done
# Debian's Alertmanager opens its templates by a path that is compiled in. A relative one of the same length
# stands in for it; deploy/monitor.sh starts the program in the directory it is relative to.
program=$target/usr/bin/prometheus-alertmanager
[[ ! -f $program ]] || sed -i 's|/usr/share/prometheus/alertmanager|./////////////////////////////////|g' "$program"
