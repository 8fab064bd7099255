#!/usr/bin/env bash
# Puts a CUDA 13 toolkit (nvcc, runtime, cuBLASLt, cuFFT, NCCL) below build/cuda, from NVIDIA's Python wheels, for
# machines where nvcc is not installed; CMake finds it there. Needs neither root nor a GPU. Does nothing when nvcc is
# there already.
#   --force    install even so
set -euo pipefail
cd "$(dirname "$0")/.."

force=
for argument in "$@"; do
  case "$argument" in
    --force) force=1 ;;
    -h|--help) sed -n '2,5s/^# *//p' "$0"; exit 0 ;;
    *) echo "install-cuda.sh: unknown option '$argument'; known: --force, --help" >&2; exit 2 ;;
  esac
done

if [[ -z $force ]]; then
  for nvcc in "$(command -v nvcc || true)" "${CUDA_HOME:+$CUDA_HOME/bin/nvcc}" build/cuda/bin/nvcc /usr/local/cuda/bin/nvcc; do
    [[ -n $nvcc && -x $nvcc ]] && { echo "cuda: $nvcc is there"; exit 0; }
  done
fi

venv=build/cuda-wheels
/usr/bin/python3 -m venv --clear "$venv"
"$venv/bin/pip" install -q --disable-pip-version-check --no-deps -r deploy/cuda-requirements.txt
packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia
# The wheels hold one folder for all but NCCL, and libraries without the names that linkers look for.
cp -r "$packages/nccl/include/." "$packages/cu13/include/"
cp "$packages/nccl/lib/libnccl.so.2" "$packages/cu13/lib/"
for library in cublas.so.13 cublasLt.so.13 cudart.so.13 cufft.so.12 nccl.so.2; do
  ln -sf "lib$library" "$packages/cu13/lib/lib${library%.*}"
done
ln -sfn lib "$packages/cu13/lib64"
ln -sfnr "$packages/cu13" build/cuda
echo "cuda: $(build/cuda/bin/nvcc --version | tail -1) below build/cuda"
