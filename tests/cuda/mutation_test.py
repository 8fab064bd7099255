"""Does a test notice when a kernel is wrong? Applies seeded mutations to the kernels, one at a time, builds the tests
of operations under emulation with each, and runs them. Prints a table; fails when fewer than WANTED are caught.

usage: mutation_test.py BUILD_DIR [--seed N] [--count N] [--wanted N] [--keep DIR]
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import re
import shlex
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KERNELS = ROOT / "core/backend/cuda"
# In the order in which they are tried; the first one runs the operations of the file alone.
TESTS = ["cuda_operations_test", "cuda_row_operations_test", "cuda_field_elementwise_test", "cuda_attention_test"]
# Operations that use what stands in files of helpers, by how the file's name begins.
SERVED = {"attention": ["Attention"], "column_sums": ["RmsNorm", "AddBias", "ShortConv"], "convert": ["MatMul"],
          "field_elementwise": ["FieldElementwise"], "field_fft": ["FieldElementwise"], "field_outer": ["FieldOuter"],
          "row_sort": ["Embedding"]}
TIMEOUT_S = 90

# Kind of fault → pattern of a line's part and what replaces it. Only lines of device code are changed.
FAULTS = {
    "off by one": [(r"\b(\w+) < (n|rows|width|tokens|elements|count|vocabulary|channels)\b", r"\1 < \2 - 1"),
                   (r"= 0; (\w+) <", r"= 1; \1 <")],
    "dropped barrier": [(r"__syncthreads\(\);", ";")],
    "swapped stride": [(r"\* (width|heads|tokens|channels|head_width|leading|stride|vocabulary)\b", r"* (\1 + 1)"),
                       (r"\bblockIdx\.x\b", "(gridDim.x - 1 - blockIdx.x) / 2")],
    "wrong sign": [(r" \+= (?!block|grid|kT|stride|kW)", " -= "), (r"(?<=[\w)\]]) - (?=[a-z]\w*(\[|\.|\())", " + ")],
    "missing edge guard": [(r"if \((\w+ >= \w+)\) return;", ";"), (r"if \(\w+ < \w+\) (?=Store|\w+\[)", "")],
}


def device_lines(text: str) -> list[int]:
    """Indices of the lines inside functions that run on the device."""
    lines, inside, found = text.splitlines(), False, []
    for i, line in enumerate(lines):
        if re.search(r"\b__(global|device)__\b", line):
            inside = True
        elif inside:
            found.append(i)
        if line == "}":
            inside = False
    return found


def candidates() -> dict[str, list[tuple[pathlib.Path, int, str]]]:
    """Every mutation there is: kind → (file, line, the line after it)."""
    found = collections.defaultdict(list)
    for file in sorted(KERNELS.glob("*.cu")):
        text = file.read_text()
        lines = text.splitlines()
        for i in device_lines(text):
            code = lines[i].split("//")[0]
            for kind, patterns in FAULTS.items():
                for pattern, replacement in patterns:
                    changed = re.sub(pattern, replacement, code, count=1)
                    if changed != code:
                        found[kind].append((file, i, changed))
    return found


def choose(count: int, seed: int) -> list[tuple[str, pathlib.Path, int, str]]:
    """The kinds take turns; within a kind the files do."""
    generator = random.Random(seed)
    queues = {}
    for kind, found in candidates().items():
        by_file = collections.defaultdict(list)
        for mutation in found:
            by_file[mutation[0]].append(mutation)
        for mutations in by_file.values():
            generator.shuffle(mutations)
        order, files = [], list(by_file.values())
        generator.shuffle(files)
        while any(files):
            order += [mutations.pop() for mutations in files if mutations]
        queues[kind] = order
    chosen = []
    while len(chosen) < count and any(queues.values()):
        for kind in list(queues):
            if queues[kind] and len(chosen) < count:
                chosen.append((kind, *queues[kind].pop(0)))
    return chosen


class Builder:
    """Builds the tests with one kernel file replaced."""

    def __init__(self, build: pathlib.Path):
        self.build = build
        subprocess.run(["cmake", "--build", build, "--target", *TESTS], check=True, stdout=subprocess.DEVNULL)
        commands = json.loads((build / "compile_commands.json").read_text())
        self.compilations = {entry["file"]: entry for entry in commands if "emulated.dir" in entry["command"]}
        self.links = {}
        for test in TESTS:
            steps = subprocess.run(["ninja", "-C", build, "-t", "commands", test], check=True, capture_output=True,
                                   text=True).stdout.splitlines()
            self.links[test] = next(step for step in reversed(steps) if f"-o bin/{test}" in step)

    def compile(self, mutant: pathlib.Path, original: pathlib.Path) -> None:
        """Makes mutant.o beside the mutant."""
        entry = self.compilations[str(original)]
        command = shlex.split(entry["command"])
        command = command[next(i for i, part in enumerate(command) if part.endswith(("c++", "g++", "clang++"))):]
        command[command.index("-o") + 1] = str(mutant.with_suffix(".o"))
        command[command.index("-c") + 1] = str(mutant)
        for option in ("-MT", "-MF"):
            if option in command:
                del command[command.index(option):command.index(option) + 2]
        command = [part for part in command if part not in ("-MD", "-Werror")] + ["-w"]
        subprocess.run(command, check=True, cwd=entry["directory"], capture_output=True)

    def link(self, mutant: pathlib.Path, test: str) -> pathlib.Path:
        """The mutant's object comes before the archive, whose own copy is then not taken."""
        program = mutant.parent / test
        link = self.links[test].replace(f"-o bin/{test}", f"{mutant.with_suffix('.o')} -o {program}")
        subprocess.run(link, shell=True, check=True, cwd=self.build, capture_output=True)
        return program


def operations_of(file: pathlib.Path) -> str:
    """A filter of the tests whose operations the file defines or serves; all tests if it does not say."""
    names = re.findall(r"^\w[\w ]* CudaBackend::([A-Z]\w+)\(", file.read_text(), re.M)
    names = [name for name in names if name not in ("Fill", "SumOfSquares")]
    names += next((served for start, served in SERVED.items() if file.stem.startswith(start)), [])
    return ":".join(f"*/{name}*" for name in names or [""]) + ":*CudaMemoryTest*:*SumOfSquares*"


def try_mutation(builder: Builder, mutation, keep: pathlib.Path | None) -> tuple[str, float]:
    """What happened: how a test caught it, or "NOT CAUGHT"."""
    kind, file, line, changed = mutation
    started = time.monotonic()
    environment = os.environ | {"WAVEFIELD_EMULATION_LAUNCHES": "", "OMP_WAIT_POLICY": "passive"}
    with tempfile.TemporaryDirectory() as scratch:
        lines = file.read_text().splitlines()
        lines[line] = changed
        mutant = pathlib.Path(scratch) / file.name
        mutant.write_text("\n".join(lines) + "\n")
        try:
            builder.compile(mutant, file)
            for test in TESTS:
                chosen = operations_of(file) if test == TESTS[0] else "*"
                try:
                    result = subprocess.run([builder.link(mutant, test), f"--gtest_filter={chosen}"], env=environment,
                                            timeout=TIMEOUT_S, capture_output=True, text=True, errors="replace")
                except subprocess.TimeoutExpired:
                    return f"caught: no end in {TIMEOUT_S} s", time.monotonic() - started
                if result.returncode != 0:
                    first = next((text for text in result.stderr.splitlines() if text.strip()), "")
                    how = "results differ" if result.returncode > 0 else f"stopped: {first[:60]}"
                    return f"caught: {how}", time.monotonic() - started
        except subprocess.CalledProcessError as error:
            return f"does not build: {error.stderr.decode()[:200]}", time.monotonic() - started
        if keep:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{file.stem}_{line + 1}.cu").write_text(mutant.read_text())
        return "NOT CAUGHT", time.monotonic() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--wanted", type=int, default=28)
    parser.add_argument("--keep", type=pathlib.Path, help="where to put kernels whose mutation was not caught")
    arguments = parser.parse_args()
    builder = Builder(arguments.build.resolve())
    mutations = choose(arguments.count, arguments.seed)
    print(f"{len(mutations)} mutations, seed {arguments.seed}")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(lambda mutation: try_mutation(builder, mutation, arguments.keep), mutations))
    for (kind, file, line, changed), (outcome, seconds) in zip(mutations, outcomes):
        print(f"{kind:20} {file.name + ':' + str(line + 1):28} {seconds:5.1f} s  {outcome}\n    {changed.strip()}")
    caught = sum(outcome.startswith("caught") for outcome, _ in outcomes)
    print(f"{caught} of {len(mutations)} caught, at least {arguments.wanted} wanted")
    return 0 if len(mutations) == arguments.count and caught >= arguments.wanted else 1


if __name__ == "__main__":
    sys.exit(main())
