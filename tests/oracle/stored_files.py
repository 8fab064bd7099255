"""Checkpoints and token shards, read and written from docs/checkpoint-format.md and docs/token-shards.md."""

import hashlib
import json
import struct

import torch


def read_safetensors(path):
    """Tensors by name, and the metadata."""
    data = bytearray(path.read_bytes())
    header_bytes, = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + header_bytes])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32", f"{path}: {name} is {entry['dtype']}"
        begin, end = (8 + header_bytes + offset for offset in entry["data_offsets"])
        tensors[name] = torch.frombuffer(data[begin:end], dtype=torch.float32).reshape(entry["shape"])
    return tensors, metadata


def write_safetensors(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, tensor in tensors.items():
        values = tensor.float().contiguous().numpy().tobytes()
        begin, data = len(data), data + values
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read_checkpoint(directory):
    """The model's configuration, and its tensors as the index deals them to files."""
    weight_map = json.loads((directory / "model.safetensors.index.json").read_text())["weight_map"]
    tensors, configs = {}, []
    for file in sorted(set(weight_map.values())):
        found, metadata = read_safetensors(directory / file)
        assert metadata["format"] == "wavefield", f"{directory / file}: {metadata}"
        configs.append(json.loads(metadata["config"]))
        tensors.update(found)
    assert set(tensors) == set(weight_map), f"{directory}: index and files differ"
    assert all(config == configs[0] for config in configs), f"{directory}: {configs}"
    return configs[0], tensors


def write_weights(directory, change):
    """Replaces every model tensor of a checkpoint by change(tensor), and makes its manifest valid again."""
    path = directory / "manifest.json"
    manifest = json.loads(path.read_text())
    for entry in manifest["files"]:
        file = directory / entry["name"]
        if entry["name"].startswith("model-"):
            tensors, metadata = read_safetensors(file)
            write_safetensors(file, {name: change(tensor) for name, tensor in tensors.items()}, metadata)
        content = file.read_bytes()
        entry["bytes"], entry["sha256"] = len(content), hashlib.sha256(content).hexdigest()
    del manifest["sha256"]
    body = json.dumps(manifest, indent=2).encode().removesuffix(b"\n}")
    path.write_bytes(body + b',\n  "sha256": "' + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n')


def read_split(directory, split):
    """All tokens of a dataset's split, in order: int64 [N]."""
    manifest = json.loads((directory / "manifest.json").read_text())
    tokens = []
    for shard in manifest["splits"][split]["shards"]:
        content = (directory / shard["file"]).read_bytes()
        magic, version, width, count = struct.unpack_from("<8sIIQ", content)
        assert (magic, version) == (b"WFTOKENS", 1), f"{shard['file']}: {magic} {version}"
        dtype = {2: torch.int16, 4: torch.int32}[width]
        signed = torch.frombuffer(bytearray(content), dtype=dtype, count=count, offset=128)
        tokens.append(signed.long() % 2 ** (8 * width))
    return torch.cat(tokens)


def read_token_bytes(directory):
    """Bytes of text of every token id [vocabulary]."""
    return torch.tensor(list(bytes.fromhex(json.loads((directory / "tokenizer.json").read_text())["token_bytes"])))
