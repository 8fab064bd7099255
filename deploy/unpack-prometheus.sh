#!/usr/bin/env bash
# Unpacks Debian's Prometheus and Alertmanager below build/prometheus, where they are not in PATH: installed,
# the packages would start servers. Does nothing when all are there. Needs no root, unless apt has to learn first
# where the packages are. What is there at the end is whole, or nothing.
set -euo pipefail
target=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/build/prometheus
PATH=$PATH:$target/usr/bin
packages=(prometheus prometheus-alertmanager)

missing=()
for program in promtool prometheus amtool prometheus-alertmanager; do
  command -v "$program" >/dev/null || missing+=("$program")
done
((${#missing[@]})) || exit 0

echo "unpacking ${packages[*]} below $target, for ${missing[*]}"
mkdir -p "${target%/*}"
# Beside the target, so that moving it there is one step.
temporary=$(mktemp -d "$target.XXXXXX")
trap 'rm -rf "$temporary"' EXIT
cd "$temporary"

as_root=()
((EUID == 0)) || as_root=(sudo)
download() { apt-get download -qq "${packages[@]}"; }
{ download || { "${as_root[@]}" apt-get update -qq && download; }; } &>log || {
  cat log >&2
  echo "unpack-prometheus.sh: apt-get download got no ${packages[*]}, nor after apt-get update as root" >&2
  exit 1
}
for package in "${packages[@]}"; do
  dpkg-deb -x "$package"_*.deb unpacked
done
# Debian's Alertmanager opens its templates by a path that is compiled in. A relative one of the same length
# stands in for it; deploy/monitor.sh starts the program in the directory it is relative to.
sed -i 's|/usr/share/prometheus/alertmanager|./////////////////////////////////|g' \
  unpacked/usr/bin/prometheus-alertmanager
rm -rf "$target"
mv -T unpacked "$target"
