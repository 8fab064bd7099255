"""Measures whole training steps on a GPU and writes results.json and table.txt.

usage: gpu_table.py TRAINING_STEP_BENCH OUT_DIR

Each line is a process of its own: a shape that does not fit the memory is listed with the reason and the rest goes on.
"""

import json
import pathlib
import subprocess
import sys

LENGTHS = [1 << 10, 1 << 12, 1 << 14, 1 << 15, 1 << 17]
TOKENS_PER_PASS = 1 << 14  # windows of a shorter length are batched up to this
# preset, ways of propagation
MODELS = [
    ("wave-field-124m", ["chunked"]),
    ("wave-field-static-124m", ["recurrence", "fft"]),
    ("transformer-124m", ["auto"]),
    ("wave-field-825m", ["chunked"]),
    ("wave-field-static-825m", ["recurrence", "fft"]),
    ("transformer-825m", ["auto"]),
]
# Dense bf16 products with fp32 accumulation, FLOP/s, from NVIDIA's data sheets; by a part of the device's name.
PEAKS = {"A100": 312e12, "H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "B200": 2250e12}
ROW = "{:24} {:>11} {:>7} {:>3} {:>11} {:>7} {:>8} {:>9} {:>9} {:>9} {:>8} {:>9}"
HEAD = ["preset", "propagation", "T", "B", "tokens/s", "MFU %", "ratio", "forward", "backward", "optimizer", "mixing",
        "peak GiB"]


def peak_of(device: str) -> float | None:
    return next((peak for name, peak in PEAKS.items() if name in device), None)


def measure(bench: str, preset: str, way: str, tokens: int) -> dict:
    batch = max(1, TOKENS_PER_PASS // tokens)
    command = [bench, "--device", "cuda", "--precision", "bf16", "--preset", preset, "--propagation", way,
               "--tokens", str(tokens), "--batch", str(batch), "--steps", "5", "--json"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
        return {"preset": preset, "propagation": way, "tokens": tokens, "batch": batch, "error": reason}
    return json.loads(result.stdout)


def line(result: dict) -> str:
    if "error" in result:
        return f"{result['preset']:24} {result['propagation']:>11} {result['tokens']:>7}  {result['error'][:100]}"
    peak = peak_of(result["device"])
    return ROW.format(
        result["preset"], result["propagation"], result["tokens"], result["batch"],
        f"{result['tokens_per_second']:,.0f}",
        "-" if peak is None else f"{100 * result['model_flops_per_second'] / peak:.1f}",
        f"{result['matmul_rate_ratio']:.2f}", *(f"{result[k]:.1f}" for k in
                                                ("forward_ms", "backward_ms", "optimizer_ms", "mixing_ms")),
        f"{result['peak_bytes'] / 2**30:.2f}")


def main() -> int:
    bench, out = sys.argv[1], pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    results, lines = [], [ROW.format(*HEAD)]
    print(lines[0], flush=True)
    for preset, ways in MODELS:
        for tokens in LENGTHS:
            for way in ways:
                results.append(measure(bench, preset, way, tokens))
                lines.append(line(results[-1]))
                print(lines[-1], flush=True)
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "table.txt").write_text("\n".join(lines) + "\n")
    print(f"milliseconds of a step; written to {out}/results.json and {out}/table.txt")
    return 0 if any("error" not in result for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
