#!/usr/bin/env python3
"""A language model that Wavefield trained: its architecture, its tokenizer and its text, in one file.

    python wavefield_model.py FOLDER "Once upon a time"

    from wavefield_model import Tokenizer, WavefieldModel
    model, tokenizer = WavefieldModel.load(FOLDER), Tokenizer(FOLDER)
    logits = model(ids)                                  # [B, T] → [B, T, V]
    for id in model.generate(tokenizer.prompt("Once upon a time"), 100): ...

FOLDER holds config.json, model.safetensors and the tokenizer. Needs PyTorch 1.13 or later and nothing else, but for
tokenizers that came from elsewhere (kind `sentencepiece`): those need the package sentencepiece.

Letters of shapes: B sequences, T tokens, D model width, H heads, d = D / H head width, V vocabulary. Every layer takes
[B, T, D] and its state after what came before (None at the start), and returns its output and the state after it:
a window at once and token by token are the same computation. A wave field's state does not grow; attention's does.
"""

import argparse
import codecs
import json
import math
import mmap
import pathlib
import re
import struct
import sys

import torch
from torch import nn
from torch.nn import functional as F

CHUNK = 64  # tokens that a wave field computes at once


def linear(inputs, outputs, bias=False):
    return nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias)


def parameter(*shape):
    return nn.Parameter(torch.zeros(shape))


def rms(x):
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


def split_heads(x, heads):
    """[B, T, D] → [B, H, T, d]"""
    return x.unflatten(-1, (heads, x.shape[-1] // heads)).transpose(1, 2)


def join_heads(x):
    """[B, H, T, d] → [B, T, D]"""
    return x.transpose(1, 2).flatten(2)


def angles(start, count, width):
    """[count, width / 2]: position times 10,000^(−2i / width), for positions from `start` on."""
    rates = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.arange(start, start + count, dtype=torch.float64)[:, None] * rates


class RMSNorm(nn.Module):

    def __init__(self, width):
        super().__init__()
        self.weight = parameter(width)

    def forward(self, x):
        return rms(x) * self.weight


class SwiGLU(nn.Module):

    def __init__(self, width, inner):
        super().__init__()
        self.gate, self.up, self.down = linear(width, inner), linear(width, inner), linear(inner, width)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class GELU(nn.Module):

    def __init__(self, width, inner):
        super().__init__()
        self.up, self.down = linear(width, inner, bias=True), linear(inner, width, bias=True)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


class Attention(nn.Module):
    """Causal attention with rotary positions. State: keys and values of all tokens so far."""

    def __init__(self, config):
        super().__init__()
        width, self.heads = config["d_model"], config["n_heads"]
        self.qkv, self.out = linear(width, 3 * width), linear(width, width)

    def forward(self, x, state):
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        start = 0 if state is None else state[0].shape[2]
        q, k = self.rotate(q, start), self.rotate(k, start)
        if state is not None:
            k, v = torch.cat([state[0], k], 2), torch.cat([state[1], v], 2)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(start + 1)
        weights = scores.masked_fill(future, -math.inf).softmax(-1)
        return self.out(join_heads(weights @ v)), (k, v)

    @staticmethod
    def rotate(x, start):
        angle = angles(start, *x.shape[2:])
        cosine, sine = angle.cos().to(x), angle.sin().to(x)
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], -1).flatten(-2)


class Damping(nn.Module):
    """λ > 0 [B, H, T]: of each head, or, `selective`, of each head and token."""

    def __init__(self, config):
        super().__init__()
        self.bias = parameter(config["n_heads"])
        selective = config["damping"] == "selective"
        self.weight = parameter(config["n_heads"], config["d_model"]) if selective else None

    def forward(self, x):
        if self.weight is None:
            return F.softplus(self.bias).expand(*x.shape[:2], -1).transpose(1, 2)
        return F.softplus(F.linear(x, self.weight, self.bias)).transpose(1, 2)


class Field(nn.Module):
    """What the wave fields of both forms share: tokens deposit k and v, waves carry that to all later tokens.

    Token t hears token s ≤ t with weight exp(−(λ_{s+1} + … + λ_t)) · cos(ω (t − s) + φ). State: the cosine and the sine
    part of all waves so far, each [B, H, d, d] (deposit `outer`: k vᵀ, read by q) or [B, H, 1, d] (`elementwise`: k ⊙ v).
    """

    def __init__(self, config):
        super().__init__()
        self.heads, self.outer = config["n_heads"], config["deposit"] == "outer"
        self.damping = Damping(config)
        self.frequency, self.phase = parameter(self.heads), parameter(self.heads)
        self.coupling = parameter(self.heads, self.heads)

    def propagate(self, x, q, k, v, state):
        """What every head of every token hears [B, H, T, d], and the state. x [B, T, D]: the mixer's input."""
        if state is None:
            state = 2 * (v.new_zeros(*v.shape[:2], v.shape[3] if self.outer else 1, v.shape[3]),)
        damping, pieces = self.damping(x), []
        for start in range(0, x.shape[1], CHUNK):
            part = slice(start, start + CHUNK)
            heard, state = self.chunk(damping[:, :, part], q[:, :, part], k[:, :, part], v[:, :, part], state)
            pieces.append(heard)
        return torch.einsum("ij,bjtd->bitd", self.coupling.softmax(-1), torch.cat(pieces, 2)), state

    def chunk(self, damping, q, k, v, state):
        count = damping.shape[2]
        step = torch.arange(count, device=v.device)
        frequency, phase = self.frequency[:, None, None], self.phase[:, None, None]
        distance = step[:, None] - step
        total = damping.cumsum(-1)  # since the token before the chunk
        decay = (total[..., None, :] - total[..., :, None]).masked_fill(distance < 0, -math.inf).exp()
        kernel = decay * (frequency * distance + phase).cos()  # [B, H, count, count]

        # From the tokens of the chunk, and what they are at its end.
        to_end = decay[:, :, -1, :, None]
        angle = frequency * (count - 1 - step)[:, None]
        if self.outer:
            heard = (kernel * (q @ k.transpose(-1, -2))) @ v
            fed = [(k * (to_end * part)).transpose(-1, -2) @ v for part in (angle.cos(), angle.sin())]
        else:
            heard = kernel @ (k * v)
            fed = [(k * v * (to_end * part)).sum(2, keepdim=True) for part in (angle.cos(), angle.sin())]

        # From the state, and what that has become at the chunk's end.
        since = total.neg().exp()[..., None]
        angle = frequency * (step + 1)[:, None] + phase
        real, imaginary = (q @ part if self.outer else part for part in state)
        heard = heard + since * (angle.cos() * real - angle.sin() * imaginary)
        cosine, sine = (frequency * count).cos(), (frequency * count).sin()
        real, imaginary = (since[:, :, -1:] * part for part in state)
        return heard, (cosine * real - sine * imaginary + fed[0], sine * real + cosine * imaginary + fed[1])


class WaveField(Field):
    """The modern form. State: the last inputs of the short convolution, and the field's."""

    def __init__(self, config):
        super().__init__(config)
        width, self.taps = config["d_model"], config["conv_width"]
        self.qkvg, self.out = linear(width, 4 * width), linear(width, width)
        self.conv = nn.Module()
        self.conv.weight, self.conv.bias = parameter(3 * width, self.taps), parameter(3 * width)
        self.head_norm = RMSNorm(width)

    def forward(self, x, state):
        count, width = x.shape[1:]
        projected, gate = self.qkvg(x).split([3 * width, width], -1)
        past, field = state or (x.new_zeros(x.shape[0], self.taps - 1, 3 * width), None)
        window = torch.cat([past, projected], 1)
        convolved = self.conv.bias + sum(self.conv.weight[:, i] * window[:, i:i + count] for i in range(self.taps))
        q, k, v = (split_heads(part, self.heads) for part in F.silu(convolved).chunk(3, -1))
        y, field = self.propagate(x, q, k, v, field)
        y = join_heads(rms(y if self.outer else q * y)) * self.head_norm.weight
        return self.out(y * F.silu(gate)), (window[:, count:], field)


class ClassicField(Field):
    """The classic form (v4)."""

    def __init__(self, config):
        super().__init__(config)
        width = config["d_model"]
        head = width // self.heads
        self.qkvg, self.out = linear(width, 4 * width, bias=True), linear(width, width, bias=True)
        self.psi_q, self.psi_k = (nn.ModuleList(linear(head, head, bias=True) for _ in range(2)) for _ in range(2))
        self.cross = linear(head, head)

    def forward(self, x, state):
        q, k, v, gate = self.qkvg(x).chunk(4, -1)
        q, k, v = (split_heads(part, self.heads) for part in (q, k, v))
        q, k = self.feature(self.psi_q, q), self.feature(self.psi_k, k)
        field, state = self.propagate(x, q, k, v * self.scale(), state)
        return self.out(join_heads(self.cross(q * field)) * gate.sigmoid()), state

    def scale(self):
        return (-torch.expm1(-2 * F.softplus(self.damping.bias))).sqrt()[:, None, None]

    @staticmethod
    def feature(psi, x):
        return F.relu(psi[1](F.gelu(psi[0](x)))) + 1e-6


class Interference(nn.Module):
    """Of the classic form: every token and the mean of all before. State: their sum and their number."""

    def __init__(self, width):
        super().__init__()
        self.compress = linear(width, width // 4, bias=True)
        self.expand = linear(width // 4, width, bias=True)
        self.local, self.gate = linear(width, width, bias=True), linear(2 * width, width, bias=True)
        self.add_module("global", linear(width, width, bias=True))  # a keyword of Python
        self.temperature = parameter(1)

    def forward(self, x, state):
        total, seen = state or (0, 0)
        total = total + self.compress(x).cumsum(1)
        seen = seen + torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]
        e = self.expand(total / seen)
        near, far = self.local(x), getattr(self, "global")(e)
        length = near.norm(dim=-1).clamp(min=1e-12) * far.norm(dim=-1).clamp(min=1e-12)
        alignment = ((near * far).sum(-1) / length)[..., None]
        strength = (alignment / (F.softplus(self.temperature) + 0.05)).sigmoid()
        return x + self.gate(torch.cat([x, e], -1)).sigmoid() * e * strength, (total[:, -1:], seen[-1])


class Layer(nn.Module):

    def __init__(self, config, index):
        super().__init__()
        width, classic = config["d_model"], config["form"] == "classic"
        attends = config["form"] == "attention" or index in config["attention_layers"]
        self.norm1 = nn.LayerNorm(width) if classic else RMSNorm(width)
        self.mixer = (Attention if attends else ClassicField if classic else WaveField)(config)
        self.norm2 = nn.LayerNorm(width) if classic else RMSNorm(width)
        self.ffn = (GELU if classic else SwiGLU)(width, config["d_ff"])

    def forward(self, x, state):
        mixed, state = self.mixer(self.norm1(x), state)
        x = x + mixed
        return x + self.ffn(self.norm2(x)), state


class WavefieldModel(nn.Module):

    def __init__(self, config):
        """`config`: what config.json holds. Parameters are to be loaded."""
        super().__init__()
        self.config, model = config, config["model"]
        width, layers = model["d_model"], model["n_layers"]
        self.classic = model["form"] == "classic"
        self.embedding = nn.utils.skip_init(nn.Embedding, model["vocab_size"], width)
        self.layers = nn.ModuleList(Layer(model, i) for i in range(layers))
        self.interference = nn.ModuleList(Interference(width) for _ in range(layers // 3 if self.classic else 0))
        self.norm = nn.LayerNorm(width) if self.classic else RMSNorm(width)

    @classmethod
    def load(cls, folder):
        """The model of an exported folder: on the CPU, in fp32, for evaluation."""
        config = json.loads((pathlib.Path(folder) / "config.json").read_text())
        if config.get("format") != "wavefield-export" or config.get("format_version") != 1:
            raise ValueError(f"{folder}/config.json is not that of a Wavefield export of version 1")
        model = cls(config)
        model.load_state_dict(read_safetensors(pathlib.Path(folder) / "model.safetensors"))
        return model.eval()

    def forward(self, ids):
        """Logits [B, T, V] of what follows each of the ids [B, T], which begin a sequence."""
        return self.logits(self.advance(ids)[0])

    def loss(self, ids):
        """Mean cross entropy, in nats, of the tokens of ids [B, T] but the first, each given those before it."""
        return F.cross_entropy(self(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())

    def advance(self, ids, state=None):
        """Reads ids [B, T] that go on from `state`. Returns what logits() takes [B, T, D], and the state after them."""
        state = dict(state or {"position": 0})
        h = self.embedding(ids)
        if self.classic:
            angle = angles(state["position"], ids.shape[1], h.shape[2])
            h = h + torch.stack([angle.sin(), angle.cos()], -1).flatten(1).to(h)
        for i, layer in enumerate(self.layers):
            h, state[i] = layer(h, state.get(i))
            if self.classic and i % 3 == 2:
                name = f"interference {i // 3}"
                h, state[name] = self.interference[i // 3](h, state.get(name))
        state["position"] += ids.shape[1]
        return self.norm(h), state

    def logits(self, h):
        return F.linear(h, self.embedding.weight)

    @torch.no_grad()
    def generate(self, ids, max_tokens, temperature=0.8, top_k=0, seed=None):
        """Yields the `max_tokens` ids that follow the list `ids`. temperature 0: the most likely ones; top_k: of the
        so many most likely (0: of all); the same seed draws the same ids."""
        random = torch.Generator()
        random.seed() if seed is None else random.manual_seed(seed)
        state, device = None, self.embedding.weight.device
        for _ in range(max_tokens):
            h, state = self.advance(torch.tensor([ids], device=device), state)
            logits = self.logits(h[0, -1])[:self.config["tokenizer"]["vocab_size"]].float().cpu()  # without padding
            if temperature == 0:
                ids = [logits.argmax().item()]
            else:
                if top_k > 0:
                    least = logits.topk(min(top_k, len(logits))).values[-1]
                    logits[logits < least] = -math.inf
                ids = torch.multinomial((logits / temperature).softmax(-1), 1, generator=random).tolist()
            yield ids[0]


def read_safetensors(path):
    """Tensors by name; memory of the file until they are copied."""
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    size, = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + size].decode())
    header.pop("__metadata__", None)
    tensors = {}
    for name, about in header.items():
        if about["dtype"] != "F32":
            raise ValueError(f"{path}: {name} is {about['dtype']}, not F32")
        begin, end = about["data_offsets"]
        values = torch.frombuffer(data, dtype=torch.float32, count=(end - begin) // 4, offset=8 + size + begin)
        tensors[name] = values.reshape(about["shape"])
    return tensors


class Tokenizer:
    """Text to token ids and back, without loss, of an exported folder."""

    def __init__(self, folder):
        about = json.loads((pathlib.Path(folder) / "tokenizer.json").read_text())
        self.kind, self.separator = about["kind"], about["separator_id"]
        if self.kind == "ids":
            raise ValueError("the model was trained on token ids that came without a tokenizer; give it ids")
        self.texts = [bytes([byte]) for byte in range(256)]  # of every id
        self.byte_ids = list(range(256))
        self.scores = {}  # (score, id) by piece of text
        if self.kind != "bytes":
            name = about["model_file"]
            if pathlib.Path(name).name != name:
                raise ValueError(f"{folder}/tokenizer.json: model_file is '{name}', which is not a name in that folder")
            self.read_model((pathlib.Path(folder) / name).read_bytes())
        self.texts += [b""] * (about["vocab_size"] - len(self.texts))
        self.texts[self.separator] = b""

    def prompt(self, text):
        """The ids of a document that begins with `text`."""
        return [self.separator] + self.encode(text)

    def encode(self, text):
        if self.kind == "bytes":
            return list(text.encode("utf-8", "surrogateescape"))
        if self.kind == "sentencepiece":
            return self.encode_elsewhere(text)
        return [id for word in re.findall(" *[^ ]+| +", text) for id in self.encode_word(word)]

    def decode(self, ids):
        """Bytes: a character may need several ids."""
        return b"".join(self.texts[id] for id in ids)

    def bytes_of(self, text):
        return [self.byte_ids[byte] for byte in text.encode("utf-8", "surrogateescape")]

    def encode_word(self, word):
        """Byte-pair merges: of two neighbours that make a piece, those of the best piece, the leftmost first."""
        parts = list(word)
        while True:
            pairs = ((self.scores.get(parts[i] + parts[i + 1]), -i) for i in range(len(parts) - 1))
            best = max(((found[0], place) for found, place in pairs if found), default=None)
            if best is None:
                break
            i = -best[1]
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
        return [id for part in parts
                for id in ([self.scores[part][1]] if part in self.scores else self.bytes_of(part))]

    def encode_elsewhere(self, text):
        """A SentencePiece model as it came; what it does not know is spelled in bytes."""
        ids = []
        for i, part in enumerate(re.split("([\0\u2581\ud800-\udfff])", text)):
            if i % 2:
                ids += self.bytes_of(part)
                continue
            for piece, id in zip(self.sentencepiece.encode(part, out_type=str), self.sentencepiece.encode(part)):
                known = not (self.sentencepiece.is_unknown(id) or self.sentencepiece.is_control(id))
                ids += [id] if known else self.bytes_of(piece.replace("\u2581", " "))
        return ids

    def read_model(self, model):
        """The pieces of a SentencePiece model, a protocol buffer."""
        normal, unknown, control, user_defined, byte_piece = 1, 2, 3, 4, 6
        self.texts, bytes_of_pieces = [], {}
        for field, value in protobuf_fields(model):
            if field != 1:
                continue
            piece = dict(protobuf_fields(value))
            text, kind, id = piece[1].decode().replace("\u2581", " "), piece.get(3, normal), len(self.texts)
            if kind == byte_piece:
                byte = int(text[1:-1], 16)  # <0xHH>
                bytes_of_pieces[byte] = id
                self.texts.append(bytes([byte]))
            else:
                self.texts.append(b"" if kind in (unknown, control) else text.encode())
            if kind in (normal, user_defined):
                self.scores[text] = struct.unpack("<f", piece.get(2, bytes(4)))[0], id
        if not bytes_of_pieces:
            bytes_of_pieces = {byte: len(self.texts) + byte for byte in range(256)}
            self.texts += [bytes([byte]) for byte in range(256)]
        self.byte_ids = [bytes_of_pieces[byte] for byte in range(256)]
        if self.kind == "sentencepiece":
            import sentencepiece  # of this kind of tokenizer alone
            # A later field of a protocol buffer wins: no map of characters, no space in front, none removed.
            plain = b"\x1a\x08\x12\x00\x18\x00\x20\x00\x28\x01"
            self.sentencepiece = sentencepiece.SentencePieceProcessor(model_proto=model + plain)


def protobuf_fields(data):
    """(number, value) of each field: a number, or bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte, at = data[at], at + 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        wire = tag & 7
        if wire == 0:
            yield tag >> 3, varint()
            continue
        size = varint() if wire == 2 else {1: 8, 5: 4}[wire]
        yield tag >> 3, data[at:at + size]
        at += size


def main():
    parser = argparse.ArgumentParser(description="Lets an exported Wavefield model continue a text.")
    parser.add_argument("folder", help="with config.json, model.safetensors and the tokenizer")
    parser.add_argument("prompt", help="the text to continue")
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--temperature", type=float, default=0.8, help="0: always the most likely token")
    parser.add_argument("--top-k", type=int, default=0, help="of the K most likely tokens; 0: of all")
    parser.add_argument("--seed", type=int, help="the same seed, the same text")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps, …")
    flags = parser.parse_args()
    tokenizer = Tokenizer(flags.folder)
    model = WavefieldModel.load(flags.folder).to(flags.device)
    characters = codecs.getincrementaldecoder("utf-8")("replace")
    ids = tokenizer.prompt(flags.prompt)

    def show(text):
        if sys.stdout.isatty():  # a terminal obeys control characters
            text = re.sub("[\\0-\\x08\\x0b-\\x1f\\x7f-\\x9f]", lambda found: ascii(found[0])[1:-1], text)
        print(text, end="", flush=True)

    for id in model.generate(ids, flags.max_tokens, flags.temperature, flags.top_k, flags.seed):
        text = b"\n" if id == tokenizer.separator else tokenizer.decode([id])
        show(characters.decode(text))
    show(characters.decode(b"", final=True) + "\n")


if __name__ == "__main__":
    main()
