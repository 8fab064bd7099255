"""Checkpoints and datasets on their way to the coordinator."""

import contextlib
import hashlib
import json
import pathlib

from .downloads import MANIFEST, is_relative_path
from .errors import InvalidArgument, Unavailable
from .exchange import Exchange
from .watching import retried

_CHUNK_BYTES = 1 << 20
_MAX_MANIFEST_BYTES = 4 << 20


class CheckpointUpload:
    """Sends the checkpoint in `directory`, to be held by `job_id`. What an earlier try brought is not sent again."""

    def __init__(self, connection, directory, job_id, note="", on_progress=None):
        self._connection, self._job_id, self._note = connection, job_id, note
        self._on_progress = on_progress or (lambda done, total: None)
        self._directory = pathlib.Path(directory)
        self._manifest = _read_manifest(self._directory)
        self._files = _listed_files(self._directory / MANIFEST, self._manifest)
        for name, size in self._files.items():
            path = self._directory / name
            if not path.is_file() or path.stat().st_size != size:
                raise InvalidArgument(f"{path} is not the file of {size} bytes that {MANIFEST} names; "
                                      "download the checkpoint again")
        self._kept = -1  # bytes at the coordinator, as it last said when a try began; -1: never
        self._done = 0

    def run(self):
        return retried(self._attempt, lambda: self._kept)

    def _attempt(self):
        exchange = Exchange(self._connection, "CheckpointService.UploadCheckpoint")
        with contextlib.closing(exchange.answers) as answers:
            exchange.send(begin={"job_id": self._job_id, "manifest": self._manifest, "note": self._note})
            begun = next(answers, None)
            if begun is not None:
                self._send_files(exchange, begun.offsets)
            exchange.finish()
            for answer in answers:
                if answer.HasField("checkpoint"):
                    return answer.checkpoint
        raise Unavailable("the coordinator ended the upload without an answer")

    def _send_files(self, exchange, offsets):
        self._done = self._kept = sum(offsets.values())
        for path, size in self._files.items():
            if not self._send_file(exchange, path, offsets.get(path, 0), size):
                return

    def _send_file(self, exchange, path, offset, size):
        with open(self._directory / path, "rb") as file:
            file.seek(offset)
            while offset < size:
                data = file.read(_CHUNK_BYTES)
                if not data or not exchange.send(chunk={"path": path, "offset": offset, "data": data}):
                    return False
                offset += len(data)
                self._done += len(data)
                self._on_progress(self._done, sum(self._files.values()))
        return True


def create_dataset(connection, config, files, on_progress):
    """Streams `files` (paths) as the sources of `config`; the Dataset."""
    sources = [_describe(pathlib.Path(file)) for file in files]
    exchange = Exchange(connection, "DatasetService.CreateDataset")
    with contextlib.closing(exchange.answers) as answers:
        exchange.send(config={**config, "sources": sources})
        for answer in answers:
            if answer.HasField("dataset"):
                exchange.finish()
                return answer.dataset
            if answer.send_chunks:
                _send_all(exchange, files)
                exchange.finish()
            elif on_progress and answer.HasField("progress"):
                on_progress(answer.progress)
    raise Unavailable("the coordinator ended the upload without an answer")


def _send_all(exchange, files):
    for path in files:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                if not exchange.send(chunk=chunk):
                    return


def _describe(path):
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return {"path": path.name, "bytes": size, "sha256": digest.hexdigest()}


def _read_manifest(directory):
    path = directory / MANIFEST
    if not path.is_file():
        raise InvalidArgument(f"{directory} is no checkpoint: it has no {MANIFEST}")
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise InvalidArgument(f"{path} has {path.stat().st_size} bytes; at most {_MAX_MANIFEST_BYTES} are accepted")
    return path.read_bytes()


def _listed_files(path, manifest):
    """name → bytes of the files that a manifest, read from `path`, lists."""
    try:
        files = {file["name"]: file["bytes"] for file in json.loads(manifest)["files"]}
        for name, size in files.items():
            if not is_relative_path(name) or not isinstance(size, int) or size < 0:
                raise ValueError(f"the file '{name[:100]}' of {size} bytes")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidArgument(f"{path} is no manifest of a checkpoint ({type(error).__name__}: {error}); "
                              "download the checkpoint again") from None
    return files
