"""The table of the CUDA backend: every operation of backend.h in fp32 and bf16, as cuda_operations_test left it.

usage: operation_table.py BACKEND_H RESULTS_JSON

Fails when an operation of the contract has no test, or one that did not pass.
"""

import collections
import json
import pathlib
import re
import sys

# Of the contract, and no operation on tensors of activations: what has tests of its own, or nothing to test.
OTHER = {"Allocate", "Free", "CopyFromHost", "CopyToHost", "Copy", "Fill", "SumOfSquares", "Synchronize",
         "ReserveWorkspace"}
TYPES = ["fp32", "bf16"]


def main() -> int:
    header, results = (pathlib.Path(argument).read_text() for argument in sys.argv[1:])
    operations = [name for name in re.findall(r"virtual \w+\*? ([A-Z]\w+)\(", header) if name not in OTHER]
    cells = collections.defaultdict(list)
    for suite in json.loads(results)["testsuites"]:
        for test in suite["testsuite"]:
            match = re.fullmatch(r"(\w+)/(\w+)_(fp32|bf16)", test["name"])
            if match:
                passed = test["result"] == "COMPLETED" and not test.get("failures")
                cells[match[2], match[3]].append((match[1], passed))
    incomplete = []
    print(f"{'operation':32}" + "".join(f"{name:>8}" for name in TYPES))
    for operation in operations:
        row = []
        for name in TYPES:
            tests = cells[operation, name]
            row.append("passed" if tests and all(passed for _, passed in tests) else "FAILED" if tests else "none")
        print(f"{operation:32}" + "".join(f"{cell:>8}" for cell in row))
        if any(cell != "passed" for cell in row):
            incomplete.append(operation)
    print(f"{len(operations)} operations, {len(incomplete)} with a cell that is not 'passed'")
    return 1 if incomplete or not operations else 0


if __name__ == "__main__":
    sys.exit(main())
