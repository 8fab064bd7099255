"""Lists every kernel of the CUDA backend with its launches under emulation; fails if one has none.

usage: every_kernel_runs.py SOURCES LAUNCHES
SOURCES is the folder of the .cu files, LAUNCHES one of files with lines "kernel launches".
"""

import collections
import pathlib
import re
import sys


def declared_kernels(folder: pathlib.Path) -> dict[str, str]:
    """Name of each __global__ function, and the file that has it."""
    pattern = re.compile(r"__global__\s+(?:__launch_bounds__\([^)]*\)\s*)?void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)")
    return {
        name: file.name
        for file in sorted([*folder.glob("*.cu"), *folder.glob("*.h")])
        for name in pattern.findall(file.read_text())
    }


def main() -> int:
    sources, launches = map(pathlib.Path, sys.argv[1:])
    counts: collections.Counter[str] = collections.Counter()
    for file in launches.glob("*.txt"):
        for line in file.read_text().splitlines():
            name, count = line.split()
            counts[name] += int(count)
    kernels = declared_kernels(sources)
    for name, file in kernels.items():
        print(f"{file:32} {name:48} {counts[name]:>10,}")
    never = [name for name in kernels if counts[name] == 0]
    unknown = sorted(set(counts) - set(kernels))
    print(f"{len(kernels)} kernels, {sum(counts[name] for name in kernels):,} launches")
    if never:
        print(f"never launched: {', '.join(never)}")
    if unknown:
        print(f"launched under a name that is no kernel's: {', '.join(unknown)}")
    return 1 if never or unknown or not kernels else 0


if __name__ == "__main__":
    sys.exit(main())
