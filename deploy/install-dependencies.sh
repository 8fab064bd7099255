#!/usr/bin/env bash
# Installs the Debian 12 packages that Wavefield needs. Safe to run again: it does nothing when all are there.
#   --tests    also what tests/run.sh needs
#   --corpus   also the default text of deploy/quickstart.sh
set -euo pipefail

packages=(
  build-essential cmake ninja-build ccache mold pkg-config git
  libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc libabsl-dev
  libdnnl-dev libgloo-dev libhwy-dev libkissfft-dev libsentencepiece-dev
  libsqlite3-dev libcivetweb-dev prometheus-cpp-dev nlohmann-json3-dev libcli11-dev libspdlog-dev
  zlib1g-dev libssl-dev libgtest-dev libgmock-dev libbenchmark-dev
)
test_packages=(openssl libboost-context-dev clang-format python3-venv python3-torch chromium iproute2 zsh fish)

for argument in "$@"; do
  case "$argument" in
    --tests) packages+=("${test_packages[@]}") ;;
    --corpus) packages+=(dict-gcide) ;;
    -h|--help) sed -n '2,4s/^# *//p' "$0"; exit 0 ;;
    *) echo "install-dependencies.sh: unknown option '$argument'; known: --tests, --corpus, --help" >&2; exit 2 ;;
  esac
done

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "dependencies: all ${#packages[@]} packages are installed"
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || {
    echo "install-dependencies.sh: must run as root, or with sudo installed, to install: ${missing[*]}" >&2
    exit 1
  }
  as_root=(sudo)
fi
echo "dependencies: installing ${#missing[@]} of ${#packages[@]} packages: ${missing[*]}"
apt_options=(-qq -y --no-install-recommends -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install "${apt_options[@]}" "${missing[@]}" >/dev/null
echo "dependencies: done"
