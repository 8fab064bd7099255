#!/usr/bin/env bash
# The estimate of memory against the measured peak of one process. usage: memory.sh [BUILD]
set -euo pipefail
bench=${1:-build/release}/bin/training_step_bench
step() { "$bench" --memory-only --steps 1 "$@"; }
step --header --preset wave-field-30m --tokens 1024 --batch 4
step --preset wave-field-30m --tokens 4096 --recompute block
step --preset wave-field-30m --tokens 8192 --sequence-chunk 1024
step --preset wave-field-static-30m --tokens 4096
step --preset transformer-30m --tokens 4096 --recompute mixer
step --preset wave-field-v4-30m --tokens 2048
