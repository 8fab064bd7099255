#!/usr/bin/env bash
# Proves the CUDA backend on a machine that has a GPU, then measures it. Builds for the devices that are there, runs
# every operation, training run and stand-alone test of tests/cuda on the device (again under compute-sanitizer where it
# is installed), the collectives over all visible GPUs, and prints a table of speed, utilisation and memory.
#   --out DIR     where table.txt and results.json go (default build/gpu)
#   --no-table    tests alone
# Exit status: 0 all passed, 1 something failed, 2 no device or no driver: nothing was proven.
set -euo pipefail
cd "$(dirname "$0")/../.."

out=build/gpu table=1
while (($#)); do
  case "$1" in
    --out) out=${2:?"--out needs a directory"}; shift ;;
    --no-table) table= ;;
    -h|--help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "run_on_gpu.sh: unknown option '$1'; known: --out DIR, --no-table, --help" >&2; exit 2 ;;
  esac
  shift
done

if ! devices=$(nvidia-smi --query-gpu=name,compute_cap,memory.total,driver_version --format=csv,noheader 2>&1) ||
   [[ -z $devices ]]; then
  echo "run_on_gpu.sh: no NVIDIA GPU to run on: ${devices:-nvidia-smi lists none}" >&2
  exit 2
fi
echo "$devices"
architectures=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | tr -d . | sort -un | paste -sd';')

bash deploy/install-dependencies.sh --tests
bash deploy/install-cuda.sh
cmake --preset cuda -DWAVEFIELD_CUDA_ARCHITECTURES="$architectures" >/dev/null
cmake --build --preset cuda --target cuda_gpu_tests wavefield_cuda training_step_bench
bin=build/cuda/bin

failed=()
run() {  # run NAME COMMAND…
  echo "== $1"
  "${@:2}" || failed+=("$1")
}
collectives=(--gtest_filter='*')
if (($(nvidia-smi --query-gpu=name --format=csv,noheader | wc -l) < 2)); then
  echo "collectives between GPUs need two of them: run with one rank alone"
  collectives=(--gtest_filter='*WorldSizes*')
fi
for test in "$bin"/*_on_gpu; do
  options=()
  [[ $test == *nccl* ]] && options=("${collectives[@]}")
  run "$(basename "$test")" "$test" "${options[@]}"
done
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck synccheck; do
    run "operations under $tool" compute-sanitizer --tool "$tool" --error-exitcode 1 \
      "$bin/cuda_operations_test_on_gpu"
  done
else
  echo "compute-sanitizer is not installed: not run"
fi

if [[ -n $table ]]; then
  run "table" python3 -B tests/cuda/gpu_table.py "$bin/training_step_bench" "$out"
fi

if ((${#failed[@]})); then
  printf 'run_on_gpu.sh: failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo "run_on_gpu.sh: all passed on: $(nvidia-smi --query-gpu=name --format=csv,noheader | sort | uniq -c | xargs)"
