"""The model of docs/model.md, written from that page alone, in PyTorch and float64.

It shares nothing with the kernels under test and prefers the shortest formula to the fast one: propagation is the
direct sum over all pairs of tokens. Legend: B batch, T tokens, D width, H heads, d = D/H, V vocabulary.
"""

import math

import torch
from torch.nn.functional import gelu, layer_norm, linear, relu, silu, softplus


def positions(count):
    return torch.arange(count, dtype=torch.float64)


def angles(count, width):
    """[count, width / 2]: position times 10,000^(−2i / width)."""
    rates = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    return positions(count)[:, None] * rates


def rms(x):
    return x / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-6)


def wave_kernel(damping, frequency, phase):
    """κ [B, H, T, T]: entry (t, s) is what token t hears of s. damping λ [B, H, T] > 0, frequency, phase [H]."""
    count = damping.shape[-1]
    total = damping.cumsum(-1)
    distance = positions(count)[:, None] - positions(count)
    decay = torch.exp(-(total[..., :, None] - total[..., None, :]).clamp(min=0))
    return (decay * torch.cos(frequency[:, None, None] * distance + phase[:, None, None])).tril()


class Oracle:
    """A model for evaluation. `tensors` by their names in docs/model.md; `config` as in the checkpoint's metadata."""

    def __init__(self, config, tensors):
        self.config = config
        self.tensors = {name: tensor.double() for name, tensor in tensors.items()}
        self.used = set()
        self.heads = config["n_heads"]
        self.classic = config["form"] == "classic"

    def __call__(self, ids):
        """Logits [B, T, V] of token ids [B, T]; the state is zero before the first."""
        embedding = self.tensor("embedding.weight")
        h = embedding[ids]
        if self.classic:
            angle = angles(h.shape[1], h.shape[2])
            h = h + torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
        for i in range(self.config["n_layers"]):
            layer = f"layers.{i}"
            h = h + self.mixer(i)(f"{layer}.mixer", self.norm(f"{layer}.norm1", h))
            h = h + self.feed_forward(f"{layer}.ffn", self.norm(f"{layer}.norm2", h))
            if self.classic and i % 3 == 2:
                h = self.interference(f"interference.{i // 3}", h)
        return self.norm("norm", h) @ embedding.T

    def unused(self):
        """Tensors that no forward pass has read."""
        return set(self.tensors) - self.used

    def tensor(self, name):
        self.used.add(name)
        return self.tensors[name]

    def linear(self, name, x, bias):
        return linear(x, self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias") if bias else None)

    def norm(self, name, x):
        weight = self.tensor(f"{name}.weight")
        if self.classic:
            return layer_norm(x, weight.shape, weight, self.tensor(f"{name}.bias"), 1e-5)
        return rms(x) * weight

    def feed_forward(self, name, x):
        up = self.linear(f"{name}.up", x, bias=self.classic)
        inner = gelu(up) if self.classic else silu(self.linear(f"{name}.gate", x, bias=False)) * up
        return self.linear(f"{name}.down", inner, bias=self.classic)

    def mixer(self, layer):
        if self.config["form"] == "attention" or layer in self.config.get("attention_layers", []):
            return self.attention
        return self.classic_field if self.classic else self.modern_field

    def per_head(self, x):
        """[B, T, D] → [B, H, T, d]"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    @staticmethod
    def joined(x):
        """[B, H, T, d] → [B, T, D]"""
        return x.transpose(1, 2).flatten(2)

    def coupled(self, name, fields):
        """Every head hears the fields [B, H, T, d] of all."""
        return torch.einsum("ij,bjtd->bitd", self.tensor(f"{name}.coupling").softmax(-1), fields)

    def kernel(self, name, x):
        damping = self.tensor(f"{name}.damping.bias").expand(*x.shape[:2], -1)
        if self.config["damping"] == "selective":
            damping = damping + x @ self.tensor(f"{name}.damping.weight").T
        return wave_kernel(softplus(damping).transpose(1, 2), self.tensor(f"{name}.frequency"),
                           self.tensor(f"{name}.phase"))

    def modern_field(self, name, x):
        projected, gate = self.linear(f"{name}.qkvg", x, bias=False).tensor_split([3 * x.shape[2]], -1)
        taps = self.tensor(f"{name}.conv.weight")
        convolved = self.tensor(f"{name}.conv.bias")
        for i in range(taps.shape[1]):
            back = taps.shape[1] - 1 - i
            shifted = torch.zeros_like(projected)
            shifted[:, back:] = projected[:, :projected.shape[1] - back]
            convolved = convolved + taps[:, i] * shifted
        q, k, v = (self.per_head(part) for part in silu(convolved).chunk(3, -1))
        kernel = self.kernel(name, x)
        if self.config["deposit"] == "outer":
            y = self.coupled(name, (kernel * (q @ k.transpose(-1, -2))) @ v)
        else:
            y = q * self.coupled(name, kernel @ (k * v))
        z = self.joined(rms(y)) * self.tensor(f"{name}.head_norm.weight")
        return self.linear(f"{name}.out", z * silu(gate), bias=False)

    def classic_field(self, name, x):
        q, k, v, gate = self.linear(f"{name}.qkvg", x, bias=True).chunk(4, -1)
        q, k, v = self.per_head(q), self.per_head(k), self.per_head(v)
        q = self.feature_map(f"{name}.psi_q", q) + 1e-6
        k = self.feature_map(f"{name}.psi_k", k) + 1e-6
        scale = torch.sqrt(-torch.expm1(-2 * softplus(self.tensor(f"{name}.damping.bias"))))
        fields = scale[:, None, None] * (self.kernel(name, x) @ (k * v))
        y = self.linear(f"{name}.cross", q * self.coupled(name, fields), bias=False)
        return self.linear(f"{name}.out", self.joined(y) * gate.sigmoid(), bias=True)

    def feature_map(self, name, x):
        return relu(self.linear(f"{name}.1", gelu(self.linear(f"{name}.0", x, bias=True)), bias=True))

    def interference(self, name, x):
        count = positions(x.shape[1])[:, None] + 1
        e = self.linear(f"{name}.expand", self.linear(f"{name}.compress", x, bias=True).cumsum(1) / count, bias=True)
        near = self.linear(f"{name}.local", x, bias=True)
        far = self.linear(f"{name}.global", e, bias=True)
        length = near.norm(dim=-1).clamp(min=1e-12) * far.norm(dim=-1).clamp(min=1e-12)
        alignment = ((near * far).sum(-1) / length)[..., None]
        temperature = softplus(self.tensor(f"{name}.temperature")) + 0.05
        gate = self.linear(f"{name}.gate", torch.cat([x, e], -1), bias=True).sigmoid()
        return x + gate * e * torch.sigmoid(alignment / temperature)

    def attention(self, name, x):
        q, k, v = (self.per_head(part) for part in self.linear(f"{name}.qkv", x, bias=False).chunk(3, -1))
        q, k = self.rotated(q), self.rotated(k)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        weights = scores.masked_fill(future, -math.inf).softmax(-1)
        return self.linear(f"{name}.out", self.joined(weights @ v), bias=False)

    @staticmethod
    def rotated(x):
        angle = angles(*x.shape[2:])
        even, odd = x[..., 0::2], x[..., 1::2]
        pairs = [even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos()]
        return torch.stack(pairs, -1).flatten(-2)


def evaluate(model, ids, window):
    """Loss in nats and accuracy over non-overlapping windows of the stream `ids` [N]: every id but the first is a
    target, the last window may be shorter."""
    loss = correct = 0.0
    targets = len(ids) - 1
    whole = targets // window
    parts = [(ids[:whole * window].view(-1, window), ids[1:whole * window + 1].view(-1, window))] if whole else []
    if targets % window:
        parts.append((ids[whole * window:-1][None], ids[whole * window + 1:][None]))
    with torch.no_grad():
        for inputs, outputs in parts:
            for x, y in zip(inputs.split(8), outputs.split(8)):
                logits = model(x)
                loss -= logits.log_softmax(-1).gather(-1, y[..., None]).sum().item()
                correct += (logits.argmax(-1) == y).sum().item()
    return {"tokens": targets, "loss": loss / targets, "accuracy": correct / targets}
