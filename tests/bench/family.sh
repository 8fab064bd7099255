#!/usr/bin/env bash
# Speed of the families side by side, one process for each line. usage: family.sh [BUILD] [LENGTH…]
set -euo pipefail
build=${1:-build/release}
shift || true
lengths=("$@")
((${#lengths[@]})) || lengths=(1024 4096 16384 65536)
header=(--header)
for preset in wave-field-30m wave-field-static-30m transformer-30m; do
  for tokens in "${lengths[@]}"; do
    steps=3
    ((tokens <= 4096)) || steps=1
    "$build/bin/training_step_bench" --preset "$preset" --tokens "$tokens" --steps "$steps" "${header[@]}"
    header=()
  done
done
