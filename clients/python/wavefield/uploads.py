"""Checkpoints and datasets on their way to the coordinator."""

import contextlib
import hashlib
import json
import pathlib

from .downloads import MANIFEST, check_relative_path
from .errors import InvalidArgument, Unavailable
from .exchange import Exchange

_CHUNK_BYTES = 1 << 20
_MAX_MANIFEST_BYTES = 4 << 20
_MAX_ATTEMPTS_WITHOUT_PROGRESS = 3


class CheckpointUpload:
    """Sends the checkpoint in `directory`, to be held by `job_id`. What an earlier try brought is not sent again."""

    def __init__(self, connection, directory, job_id, note="", on_progress=None):
        self._connection, self._job_id, self._note = connection, job_id, note
        self._on_progress = on_progress or (lambda done, total: None)
        self._directory = pathlib.Path(directory)
        self._manifest = _read_manifest(self._directory)
        self._files = {}
        for file in json.loads(self._manifest)["files"]:
            check_relative_path(file["name"])
            path = self._directory / file["name"]
            if not path.is_file() or path.stat().st_size != file["bytes"]:
                raise InvalidArgument(f"{path} is not the file of {file['bytes']} bytes that {MANIFEST} names; "
                                      "download the checkpoint again")
            self._files[file["name"]] = file["bytes"]
        self._done = 0

    def run(self):
        failures = 0
        while True:
            before = self._done
            try:
                return self._attempt()
            except Unavailable:
                failures = 0 if self._done > before else failures + 1
                if failures >= _MAX_ATTEMPTS_WITHOUT_PROGRESS:
                    raise

    def _attempt(self):
        exchange = Exchange(self._connection, "CheckpointService.UploadCheckpoint")
        with contextlib.closing(exchange.answers) as answers:
            exchange.send(begin={"job_id": self._job_id, "manifest": self._manifest, "note": self._note})
            offsets = next(answers).offsets
            self._done = sum(offsets.values())
            for path, size in self._files.items():
                if not self._send_file(exchange, path, offsets.get(path, 0), size):
                    break
            exchange.finish()
            for answer in answers:
                if answer.HasField("checkpoint"):
                    return answer.checkpoint
        raise Unavailable("the coordinator ended the upload without an answer")

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
