"""Writes ROOFLINE.md: what a training step must compute and move on a GPU, and so how fast it can be at best.

Everything follows from three things: the models' configurations and FLOPs as `wavefield model describe --json` gives
them, the bytes that the kernels next to this file state, and the peaks that the GPUs' makers publish. Nothing here is
measured.

usage: roofline.py [--wavefield PROGRAM] [--check]      --check: exit 1 unless ROOFLINE.md is what would be written
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys

REPORT = pathlib.Path(__file__).with_name("ROOFLINE.md")
PROGRAM = pathlib.Path(__file__).parents[3] / "build/release/bin/wavefield"

SIZES = ["124m", "825m", "1b5"]
FORMS = {"wave-field": "selective, outer", "wave-field-static": "static, elementwise", "transformer": "attention"}

SEQUENCE = 2048
MICRO_BATCH = 16384  # tokens a GPU has in flight
STEP = 524288  # tokens of an optimizer step, over all GPUs
RUN_TOKENS = 1.33e9
PUBLIC_RUN_HOURS = 13.2

ACTIVATION = 2  # bytes: bf16
FLOAT = 4
OUTER_CHUNK = 64  # kOuterChunk, workspace.h
LOGITS_SLICE = 128 << 20  # elements, kBFloat16LogitsSliceElements, core/model/loss.h
ONE_PASS_FFT = 16384  # points that a transform does in one pass through memory; an assumption about cuFFT

# What is expected of real kernels, of the peaks: a prediction's assumptions.
PRODUCT_EFFICIENCY = 0.65
MEMORY_EFFICIENCY = 0.75
LINK_EFFICIENCY = 0.75
INFINIBAND = 400e9 / 8  # bytes a second, each way


class Gpu:
    def __init__(self, name, tensor, scalar, memory, link, source):
        self.name, self.source = name, source
        self.tensor, self.scalar = tensor * 1e12, scalar * 1e12  # FLOP/s: bf16 dense with fp32 sums, fp32
        self.memory, self.link = memory * 1e9, link * 1e9  # bytes/s; of the link: each way


GPUS = [
    Gpu("A100", 312, 19.5, 2039, 300, "NVIDIA A100 Tensor Core GPU datasheet, 80 GB SXM"),
    Gpu("H100", 989.4, 66.9, 3350, 450, "NVIDIA H100 Tensor Core GPU architecture whitepaper, SXM5"),
    Gpu("B200", 2250, 80, 8000, 900, "NVIDIA Blackwell architecture technical brief, HGX B200 at 1,000 W"),
]


class Operation:
    """A step's work of one operation in a micro-batch, forward and backward."""

    def __init__(self, name):
        self.name = name
        self.tensor = self.scalar = self.bytes = 0.0
        self.parts = []  # (tensor FLOPs, scalar FLOPs, bytes): what runs one after another

    def add(self, tensor=0.0, scalar=0.0, moved=0.0, times=1):
        self.parts.append((tensor * times, scalar * times, moved * times))
        self.tensor += tensor * times
        self.scalar += scalar * times
        self.bytes += moved * times
        return self

    def product(self, m, n, k, times=1, accumulates=False, weights=(), out=ACTIVATION):
        """[m, k] by [k, n]. weights: elements of fp32 operands, rounded to bf16 first; accumulates: c is read too."""
        moved = ACTIVATION * (m * k + k * n) + out * m * n * (2 if accumulates else 1)
        return self.add(tensor=2.0 * m * n * k, moved=moved + sum(6 * w for w in weights), times=times)

    def linear(self, rows, inputs, outputs, times, into_residual=False):
        """y = x Wᵀ, dx = dy W, dW += dyᵀ x."""
        weight = inputs * outputs
        self.product(rows, outputs, inputs, times, accumulates=into_residual, weights=[weight])
        self.product(rows, inputs, outputs, times, weights=[weight])
        return self.product(outputs, inputs, rows, times, accumulates=True, out=FLOAT)

    def seconds(self, gpu, products=1.0, memory=1.0):
        return sum(max(t / (gpu.tensor * products), s / (gpu.scalar * products), b / (gpu.memory * memory))
                   for t, s, b in self.parts)

    def bound(self, gpu):
        times = {"products": 0.0, "arithmetic": 0.0, "memory": 0.0}
        for t, s, b in self.parts:
            limits = {"products": t / gpu.tensor, "arithmetic": s / gpu.scalar, "memory": b / gpu.memory}
            limit = max(limits, key=limits.get)
            times[limit] += limits[limit]
        return max(times, key=times.get)


def outer_field(name, rows, width, heads, layers):
    """field_outer*.cu: packed operands are written and read once; so are scores, fields and their gradients."""
    c, d, e = OUTER_CHUNK, width // heads, ACTIVATION
    matrices = rows / c * heads
    forward = e * (c * 5 * d + (c + 2 * d) * d + c * (c + 2 * d)) + 4 * (c * c + 2 * d * d)
    backward = (e * (c * 6 * d + (c + 2 * d) * d + c * (c + 2 * d) + 2 * d * d + c * c) +
                4 * (2 * c * c + 2 * c * d + 2 * c * 2 * d + 2 * d * d))
    operation = Operation(name)
    operation.add(tensor=rows * width * (4 * c + 8 * d), scalar=rows * heads * (6 * c + 20 * d),
                  moved=2 * matrices * forward + rows * width * 4 * e, times=layers)
    # Scores and fields again, then two products for each of the forward pass.
    return operation.add(tensor=rows * width * (10 * c + 20 * d), scalar=rows * heads * (20 * c + 60 * d),
                         moved=2 * matrices * backward + rows * width * 7 * e, times=layers)


def recurrence(name, rows, width, layers):
    """field_elementwise_chunks.h."""
    e = ACTIVATION
    operation = Operation(name).add(scalar=16.0 * rows * width, moved=rows * width * (5 * e + 1), times=layers)
    return operation.add(scalar=50.0 * rows * width, moved=rows * width * (10 * e + 2), times=layers)


def fft(name, rows, width, layers, sequence):
    """field_fft.cu."""
    e, points = ACTIVATION, fast_length(2 * sequence - 1)
    passes = 1 if points <= ONE_PASS_FFT else 2
    flops = 2.5 * points * math.log2(points) / sequence
    padding = points / (2 * sequence)
    operation = Operation(name)
    operation.add(scalar=rows * width * (2 * flops + 7),
                  moved=rows * width * (3 * e + padding * (24 + 2 * 16 * passes) + 4), times=layers)
    return operation.add(scalar=rows * width * (3 * flops + 16),
                         moved=rows * width * (7 * e + padding * (40 + 3 * 16 * passes) + 4), times=layers)


def attention(name, rows, width, layers, sequence):
    """attention*.cu: no T × T matrix in memory; keys and values stay in the L2 cache for a head."""
    forward = 2.0 * width * (sequence + 1)
    operation = Operation(name).add(tensor=rows * forward, moved=rows * width * 4 * ACTIVATION, times=layers)
    # Scores twice, once for dq and once for dk and dv.
    return operation.add(tensor=rows * forward * 3.5, moved=rows * width * 10 * ACTIVATION, times=layers)


def fast_length(n):
    return min(2**a * 3**b * 5**c * 7**d for a in range(1, 30) for b in range(19) for c in range(13) for d in range(11)
               if n <= 2**a * 3**b * 5**c * 7**d < 2 * n + 2)


def rows_of(name, rows, width, layers, forward, backward, flops, backward_flops):
    """Operations that go through rows once; reads and writes in elements, FLOPs per element."""
    operation = Operation(name)
    operation.add(scalar=float(rows) * width * flops, moved=float(rows) * width * forward * ACTIVATION, times=layers)
    return operation.add(scalar=float(rows) * width * backward_flops, moved=float(rows) * width * backward * ACTIVATION,
                         times=layers)


def operations(model, rows, sequence=SEQUENCE):
    """Of one micro-batch of `rows` tokens; the optimizer's share is that of rows / (tokens a GPU has in a step)."""
    config = model["config"]
    width, heads, layers = config["d_model"], config["n_heads"], config["n_layers"]
    hidden, vocabulary = config["d_ff"], config["vocab_size"]
    is_attention, outer = config["form"] == "attention", config["deposit"] == "outer"
    work = [rows_of("norms, residual copies", rows, width, 2 * layers, 2 + 2, 4, 5, 11)]
    if is_attention:
        work.append(Operation("qkv").linear(rows, width, 3 * width, layers))
        work.append(rows_of("rotary positions", rows, 2 * width, layers, 2, 2, 3, 3))
        work.append(attention("attention", rows, width, layers, sequence))
    else:
        work.append(Operation("qkvg").linear(rows, width, 4 * width, layers))
        work.append(rows_of("short convolution", rows, 3 * width, layers, 2, 3, 2 * config["conv_width"] + 8,
                            6 * config["conv_width"] + 15))
        if config["damping"] == "selective":
            damping = Operation("damping")
            damping.linear(rows, width, heads, layers).add(moved=rows * heads * FLOAT * 8, times=layers)
            work.append(damping)
        if outer:
            work.append(outer_field("field, outer, in chunks", rows, width, heads, layers))
        else:
            work.append(recurrence("field, elementwise, by recurrence", rows, width, layers))
        # The coupling is a sum over heads per column.
        reads = 0 if outer else 1
        work.append(rows_of("readout: coupling, norm, gate", rows, width, layers, 3 + reads, 5 + 2 * reads,
                            2 * heads + 20, 6 * heads + 60))
    work.append(Operation("out").linear(rows, width, width, layers, into_residual=True))
    work.append(Operation("gate, up").linear(rows, width, 2 * hidden, layers))
    work.append(rows_of("SwiGLU", rows, hidden, layers, 3, 5, 12, 20))
    work.append(Operation("down").linear(rows, hidden, width, layers, into_residual=True))
    embedding = Operation("embedding").add(moved=rows * width * (FLOAT + ACTIVATION))
    work.append(embedding.add(moved=rows * width * (ACTIVATION + 2 * FLOAT)))
    slice_rows = LOGITS_SLICE // vocabulary
    work.append(Operation("logits").linear(slice_rows, width, vocabulary, rows / slice_rows))
    work.append(Operation("cross entropy").add(scalar=12.0 * rows * vocabulary,
                                               moved=rows * vocabulary * 3 * ACTIVATION))
    return work


def optimizer(model):
    """Of a step: zeroed gradients, their norm, AdamW."""
    return Operation("optimizer").add(scalar=20.0 * model["parameter_count"],
                                      moved=model["parameter_count"] * FLOAT * (1 + 1 + 7))


def step_seconds(model, gpu, gpus, products=1.0, memory=1.0):
    """(micro-batches, the optimizer) of one GPU's step."""
    compute = sum(o.seconds(gpu, products, memory) for o in operations(model, MICRO_BATCH))
    return compute * STEP / gpus / MICRO_BATCH, optimizer(model).seconds(gpu, products, memory)


def backward_seconds(model, gpu):
    """Of the step's last micro-batch: what the reduction can hide behind."""
    total = 0.0
    for o in operations(model, MICRO_BATCH):
        total += o.seconds(gpu, PRODUCT_EFFICIENCY, MEMORY_EFFICIENCY)
    return total * 2 / 3


def predicted_seconds(model, gpu, gpus):
    compute, rest = step_seconds(model, gpu, gpus, PRODUCT_EFFICIENCY, MEMORY_EFFICIENCY)
    exposed = 0.0
    if gpus > 1:
        reduction = reduction_seconds(model, gpus, gpu.link * LINK_EFFICIENCY)
        exposed = max(reduction - backward_seconds(model, gpu), reduction * last_share(model))
    return compute + rest + exposed


def last_share(model):
    """Of the gradients, the tied embedding's: whole only when the backward pass ends, so nothing hides it."""
    return model["config"]["vocab_size"] * model["config"]["d_model"] / model["parameter_count"]


def reduction_bytes(model, gpus):
    """What each GPU sends in a ring: fp32 gradients, reduced and handed round."""
    return 2.0 * (gpus - 1) / gpus * FLOAT * model["parameter_count"]


def reduction_seconds(model, gpus, link):
    return reduction_bytes(model, gpus) / link


# ---- the report ----


def number(x, digits=3):
    if x == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(x))))
    return f"{round(x, digits - 1 - math.floor(math.log10(abs(x)))):,.{places}f}"


def table(headers, rows):
    lines = ["| " + " | ".join(headers) + " |", "| --- " + "| ---: " * (len(headers) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def peaks():
    rows = [[g.name, number(g.tensor / 1e12, 4), number(g.scalar / 1e12), number(g.memory / 1e9, 4),
             number(g.link / 1e9), g.source] for g in GPUS]
    return table(["GPU", "bf16 TFLOP/s", "fp32 TFLOP/s", "memory GB/s", "NVLink GB/s each way", "source"], rows)


def operation_table(model):
    rows = []
    work = operations(model, MICRO_BATCH)
    per_token = [(o, MICRO_BATCH) for o in work] + [(optimizer(model), STEP)]
    for o, tokens in per_token:
        rows.append([o.name, number((o.tensor + o.scalar) / tokens / 1e6), number(o.bytes / tokens / 1e3)] +
                    [f"{number(1e9 * o.seconds(g) / tokens)} ({o.bound(g)})" for g in GPUS])
    flops = sum((o.tensor + o.scalar) / tokens for o, tokens in per_token)
    moved = sum(o.bytes / tokens for o, tokens in per_token)
    totals = [sum(o.seconds(g) / tokens for o, tokens in per_token) for g in GPUS]
    rows.append(["**all**", number(flops / 1e6), number(moved / 1e3)] + [number(1e9 * t) for t in totals])
    return table(["operation, forward and backward", "MFLOP/token", "KB/token"] +
                 [f"{g.name} ns/token" for g in GPUS], rows)


def speed_table(models):
    rows = []
    for name, model in models.items():
        row = [name, number(model["flops_per_token"] / 1e9)]
        for g in GPUS:
            floor = STEP / sum(step_seconds(model, g, 1))
            predicted = STEP / predicted_seconds(model, g, 1)
            row += [number(floor), f"{number(predicted)} ({predicted * model['flops_per_token'] / g.tensor:.0%})"]
        rows.append(row)
    headers = ["model", "model GFLOP/token"]
    for g in GPUS:
        headers += [f"{g.name} bound", f"{g.name} predicted"]
    return table(headers, rows)


def hours_table(models):
    rows = []
    for name, model in models.items():
        if not name.endswith("825m"):
            continue
        for gpus in (1, 8):
            row = [name, str(gpus)]
            for g in GPUS:
                at_forty = RUN_TOKENS * model["flops_per_token"] / (0.4 * g.tensor) / 3600 / gpus
                predicted = RUN_TOKENS / STEP * predicted_seconds(model, g, gpus) / 3600
                row += [number(RUN_TOKENS / STEP * sum(step_seconds(model, g, gpus)) / 3600, 2),
                        number(predicted, 2), number(at_forty, 2)]
            rows.append(row)
    headers = ["model", "GPUs"]
    for g in GPUS:
        headers += [f"{g.name} bound", "predicted", "at 40 %"]
    return table(headers, rows)


def communication_table(models):
    rows = []
    for name, model in models.items():
        if not name.startswith("wave-field-static"):
            row = [name, number(reduction_bytes(model, 8) / 1e9)]
            for g in GPUS:
                row += [number(1e3 * reduction_seconds(model, 8, g.link * LINK_EFFICIENCY)),
                        number(1e3 * reduction_seconds(model, 8, INFINIBAND * LINK_EFFICIENCY)),
                        number(1e3 * backward_seconds(model, g)),
                        number(1e3 * predicted_seconds(model, g, 8))]
            rows.append(row)
    headers = ["model", "GB a step"]
    for g in GPUS:
        headers += [f"{g.name} NVLink ms", "InfiniBand ms", "backward ms", "step ms"]
    return table(headers, rows)


def lengths_table(model):
    """The mixing alone, of one layer."""
    config = model["config"]
    width, heads = config["d_model"], config["n_heads"]
    gpu = GPUS[1]
    rows = []
    for sequence in (1024, 4096, 16384, 65536, 131072):
        n = max(sequence, MICRO_BATCH)
        ways = [outer_field("", n, width, heads, 1), recurrence("", n, width, 1), fft("", n, width, 1, sequence),
                attention("", n, width, 1, sequence)]
        rows.append([f"{sequence:,}"] + [f"{number(1e9 * way.seconds(gpu) / n)} ({way.bound(gpu)})" for way in ways])
    return table(["tokens", "outer, chunks", "elementwise, recurrence", "elementwise, FFT", "attention"], rows)


def share(model, gpu, chosen):
    work = operations(model, MICRO_BATCH)
    return sum(o.seconds(gpu) for o in work if chosen(o)) / sum(o.seconds(gpu) for o in work)


def findings(models):
    h100 = GPUS[1]
    big, largest = models["wave-field-825m"], models["wave-field-1b5"]
    memory_estimate = largest["memory_estimate_bytes"]
    resident = sum(memory_estimate[part] for part in ("parameters", "gradients", "optimizer"))
    described = largest["micro_batch_size"] * largest["sequence_length"]
    activations = memory_estimate["activations"] * ACTIVATION / FLOAT * MICRO_BATCH / described
    outer = next(o for o in operations(big, MICRO_BATCH) if o.name.startswith("field"))
    layers, width = big["config"]["n_layers"], big["config"]["d_model"]
    scan = recurrence("", MICRO_BATCH, width, 1).seconds(h100)
    transforms = fft("", MICRO_BATCH, width, 1, SEQUENCE).seconds(h100)
    least = MICRO_BATCH * width * layers * ACTIVATION * (4 + 7)
    logits = next(o for o in operations(big, MICRO_BATCH) if o.name == "logits")
    weights = big["config"]["vocab_size"] * width * (6 + 6 + 8) / (LOGITS_SLICE // big["config"]["vocab_size"])
    nvlink = reduction_seconds(big, 8, h100.link * LINK_EFFICIENCY)
    infiniband = reduction_seconds(big, 8, INFINIBAND * LINK_EFFICIENCY)
    backward = backward_seconds(big, h100)
    compute, last = predicted_seconds(big, h100, 8), last_share(big)
    memory = share(big, h100, lambda o: o.bound(h100) == "memory")
    forty = RUN_TOKENS * big["flops_per_token"] / (0.4 * h100.tensor) / 3600
    return [
        f"Operations bound by memory take {memory:.0%} of the bound at 825M on an H100: there a faster kernel moves "
        "fewer bytes, nothing else.",
        f"The outer field's chunks move {outer.bytes / least:.1f} times what its inputs and outputs alone are: packed "
        f"operands, scores and fields. It is {share(big, h100, lambda o: o.name.startswith('field')):.0%} "
        "of the bound; a kernel that keeps a chunk on the chip would save up to "
        f"{1e9 * (outer.bytes - least) / h100.memory / MICRO_BATCH:,.0f} of "
        f"{1e9 * outer.seconds(h100) / MICRO_BATCH:,.0f} ns a token. That is where fusing pays first.",
        "Attention's products are warps' own (wmma): H100 and B200 reach their peak only with instructions of four "
        "warps, so the prediction is kind to the transformer there.",
        f"Static damping: the recurrence's bound is below the FFT's at every length, "
        f"{number(1e9 * scan / MICRO_BATCH)} to {number(1e9 * transforms / MICRO_BATCH)} ns at {SEQUENCE:,} tokens; "
        "the FFT can win only by what the L2 cache saves it. To be measured.",
        f"Rounding the embedding to bf16 and adding to its fp32 gradient for every slice of "
        f"{LOGITS_SLICE // big['config']['vocab_size']:,} rows of logits moves {weights / 1e3:.0f} KB a token, "
        f"{weights / (logits.bytes / MICRO_BATCH):.0%} of the bytes of the logits' products.",
        f"A micro-batch of {MICRO_BATCH:,} tokens at 1.5B takes about {(resident + activations) / 1e9:.0f} GB: "
        f"{resident / 1e9:.0f} of parameters, gradients and optimizer state, and the activations of `model describe`, "
        "half of them for bf16.",
        f"One H100 at 40 % of its peak needs {forty:.1f} h for {RUN_TOKENS / 1e9:.2f} B tokens at 825M; the public run "
        f"took {PUBLIC_RUN_HOURS} h.",
        f"With 8 GPUs each sends {reduction_bytes(big, 8) / 1e9:.1f} GB a step at 825M: on H100s "
        f"{1e3 * nvlink:.0f} ms by NVLink, {1e3 * infiniband:.0f} ms by one 400 Gb/s adapter a GPU, beside a step of "
        f"{1e3 * compute:.0f} ms. Gradients are whole only in the step's last micro-batch, whose backward pass takes "
        f"about {1e3 * backward:.0f} ms, to hide behind. Without any overlap it would be {nvlink / compute:.0%} of the "
        f"step by NVLink and {infiniband / compute:.0%} by InfiniBand: across machines the reduction must be "
        f"overlapped, and even then {1e3 * max(0.0, infiniband - backward):.0f} ms of it would be seen unless "
        "micro-batches grow.",
        "The tied embedding's gradient is whole only when the backward pass ends: its "
        f"{FLOAT * big['config']['vocab_size'] * width / 1e6:.0f} MB, {last:.0%} of all, are what no overlap hides, "
        f"{1e3 * nvlink * last:.1f} ms by NVLink and {1e3 * infiniband * last:.0f} ms by InfiniBand.",
    ]


def report(models):
    sections = [
        "# Roofline of the CUDA backend\n\nWritten by `roofline.py` next to this file (`--check` says whether it is "
        "current); do not edit.\n\n**Nothing here was measured on a GPU.** The *bound* is arithmetic: what these "
        "kernels compute and move, at the hardware's peaks; what one kernel leaves in the L2 cache for the next counts "
        "as moved. The *prediction* is that arithmetic with assumed efficiencies: products "
        f"{PRODUCT_EFFICIENCY:.0%} of the tensor cores' peak, memory {MEMORY_EFFICIENCY:.0%} and links "
        f"{LINK_EFFICIENCY:.0%} of their bandwidth. Launches, the host, input and checkpoints count as nothing.",
        "## Peaks\n\nWithout sparsity, as published.\n\n" + peaks(),
        f"## Operations\n\nbf16 activations, fp32 weights, gradients and optimizer state. Sequences of {SEQUENCE:,} "
        f"tokens, micro-batches of {MICRO_BATCH:,} tokens a GPU, steps of {STEP:,} tokens, no recomputation, one GPU. "
        "Each cell is the least time for a token: of its kernels one after another, each the slowest of tensor-core "
        "FLOPs, fp32 FLOPs and bytes; in brackets what takes most of it. A product counts its operands once, an fp32 "
        "weight 6 bytes more (rounding it to bf16), a weight's gradient is read and written in fp32.",
    ]
    for name, model in models.items():
        sections.append(f"### {name}: {FORMS[name.rsplit('-', 1)[0]]}, {model['parameter_count']:,} parameters\n\n" +
                        operation_table(model))
    sections += [
        "## Mixing and length\n\nThe mixing alone, ns per token of one layer of the 825M shapes on an H100, at the "
        "bound, forward and backward. The FFT's groups of channels are cut to stay in the L2 cache, so that it may do "
        "better than this.\n\n" + lengths_table(models["wave-field-825m"]),
        "## Tokens per second, one GPU\n\nIn brackets the model FLOPs utilisation that this would be "
        "(`flops_per_token` of `model describe`: 6 per weight of a product, mixing not counted).\n\n" +
        speed_table(models),
        f"## Hours for {RUN_TOKENS / 1e9:.2f} B tokens at 825M\n\n\"At 40 %\": if the whole reached 40 % of the bf16 "
        f"peak. The public run of 825M parameters took {PUBLIC_RUN_HOURS} h.\n\n" + hours_table(models),
        "## Communication\n\nData parallel over 8 GPUs: each sends 2·7/8 of the fp32 gradients once a step, in a "
        f"ring. NVLink, or one 400 Gb/s InfiniBand adapter a GPU, at {LINK_EFFICIENCY:.0%}; beside it the predicted "
        "backward pass of the last micro-batch, behind which it can hide, and the whole predicted step.\n\n" +
        communication_table(models),
        "## What follows\n\n" + "\n".join(f"- {line}" for line in findings(models)),
    ]
    return "\n\n".join(sections) + "\n"


def describe(program, preset):
    result = subprocess.run([program, "model", "describe", "--preset", preset, "--json"], check=True,
                            capture_output=True, text=True)
    return json.loads(result.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--wavefield", default=PROGRAM, help="the program (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help=f"exit 1 unless {REPORT.name} is current")
    arguments = parser.parse_args()
    models = {f"{form}-{size}": describe(arguments.wavefield, f"{form}-{size}") for form in FORMS for size in SIZES}
    text = report(models)
    if not arguments.check:
        REPORT.write_text(text, encoding="utf-8")
    elif not REPORT.exists() or REPORT.read_text(encoding="utf-8") != text:
        sys.exit(f"{REPORT} is not what the formulas give; run {pathlib.Path(__file__).name} and commit the result")


if __name__ == "__main__":
    main()
