#!/usr/bin/env bash
# Installs what the tests need, builds, and runs them.
#   (no option)   release build and all tests, then core and parsers under AddressSanitizer
#   --quick       release build and the quick tests alone
#   --label X     release build and the tests labelled X (core, worker, coordinator, cli, integration, faults,
#                 oracle, cuda, monitoring)
#   --full        everything: slow tests, CUDA for all architectures and ThreadSanitizer as well
set -euo pipefail
cd "$(dirname "$0")/.."

mode=default label=
while (($#)); do
  case "$1" in
    --quick) mode=quick ;;
    --full) mode=full ;;
    --label) mode=label; label=${2:?"--label needs a name"}; shift ;;
    -h|--help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "tests/run.sh: unknown option '$1'; known: --quick, --label X, --full, --help" >&2; exit 2 ;;
  esac
  shift
done

stage_start=$SECONDS
stage() {  # stage NAME: prints how long the one before took
  [[ -n ${stage_name:-} ]] && printf '== %s: %d.%d min\n' "$stage_name" \
    $(((SECONDS - stage_start) / 60)) $(((SECONDS - stage_start) % 60 * 10 / 60))
  stage_name=$1 stage_start=$SECONDS
}
jobs=$(nproc)
export GTEST_BRIEF=1  # of a failed program, what failed and no list of what passed
build() {  # build PRESET [TARGET]
  # The release build has the CUDA module, for one architecture: without nvcc it fails.
  local options=()
  [[ $1 == release ]] && options=(-DWAVEFIELD_CUDA=ON -DWAVEFIELD_CUDA_ARCHITECTURES=90)
  cmake --preset "$1" "${options[@]}" >/dev/null
  cmake --build --preset "$1" -j "$jobs" ${2:+--target "$2"} | grep -vE '^\[[0-9]+/[0-9]+\]' || true
  cmake --build --preset "$1" -j "$jobs" ${2:+--target "$2"} >/dev/null
}
test_preset() {  # test_preset PRESET CTEST_OPTION…
  local preset=$1; shift
  ctest --preset "$preset" -j "$jobs" --no-tests=error "$@"
}

stage "install"
bash deploy/install-dependencies.sh --tests
bash deploy/install-cuda.sh
bash deploy/unpack-prometheus.sh
[[ -x build/venv/bin/pip ]] || /usr/bin/python3 -m venv --clear build/venv
build/venv/bin/pip install -q --disable-pip-version-check -r tests/requirements.txt
rm -f build/release/monitoring-table.txt

stage "format"
git ls-files '*.cc' '*.h' '*.cu' | xargs clang-format --dry-run -Werror

case $mode in
  quick)
    stage "build release"; build release tests_quick
    stage "quick tests"; test_preset release -L '^quick$' ;;
  label)
    stage "build release"; build release
    stage "tests labelled $label"; test_preset release -L "^$label\$" ;;
  default|full)
    stage "build release"; build release
    stage "release tests"
    if [[ $mode == full ]]; then test_preset release; else test_preset release -LE '^slow$'; fi
    stage "build asan"; build asan tests_core
    stage "asan tests of core and parsers"; test_preset asan -L '^core$'
    if [[ $mode == full ]]; then
      stage "build CUDA for all architectures"; build cuda wavefield_backend_cuda
      stage "build tsan"; build tsan tests_threads
      stage "tsan tests of what is shared between threads"; test_preset tsan -L '^threads$'
    fi ;;
esac
stage ""
# Of tests/monitoring/live_test.py, where it ran: which panels have data, and which alerts came and went.
[[ ! -f build/release/monitoring-table.txt ]] || cat build/release/monitoring-table.txt
echo "tests/run.sh: all passed in $((SECONDS / 60)).$((SECONDS % 60 * 10 / 60)) min"
