"""Checkpoints on their way to this host: resumable, and checked against their hashes."""

import contextlib
import hashlib
import os
import pathlib
import re

from .errors import DataLoss, FailedPrecondition
from .watching import retried

MANIFEST = "manifest.json"

_MAX_FILES = 10000
_MAX_PATH_BYTES = 512
_NOT_PLAIN = re.compile(r"[\x00-\x1f\x7f\\]")


def is_relative_path(path):
    """Whether `path` is a plain path inside a directory."""
    return (len(path.encode()) <= _MAX_PATH_BYTES and not _NOT_PLAIN.search(path)
            and not {"", ".", ".."} & set(path.split("/")))


class Download:
    """Fetches the files of `checkpoint` (a Checkpoint) into `directory`. What is there already, whole or in part (of an
    earlier try), is not fetched again."""

    def __init__(self, connection, checkpoint, directory, on_progress=None):
        self._connection, self._checkpoint, self._directory = connection, checkpoint, pathlib.Path(directory)
        self._on_progress = on_progress or (lambda done, total: None)
        if len(checkpoint.files) > _MAX_FILES:
            raise _protocol_error(f"{len(checkpoint.files)} files; at most {_MAX_FILES} are accepted")
        self._files = {}
        for file in checkpoint.files:
            if not is_relative_path(file.path):
                raise DataLoss(f"the coordinator names a file '{file.path[:100]}', which is no plain path inside a "
                               "directory; nothing is written")
            if file.path in self._files:
                raise _protocol_error(f"{file.path} is listed twice")
            if file.bytes < 0 or not re.fullmatch("[0-9a-f]{64}", file.sha256):
                raise _protocol_error(f"{file.path} has {file.bytes} bytes and the SHA-256 '{file.sha256}'")
            self._files[file.path] = _PartialFile(file, self._directory)

    def run(self):
        self._refuse_another()
        for file in self._files.values():
            file.prepare()
        with contextlib.ExitStack() as opened:
            for file in self._files.values():
                file.open(opened)
            retried(self._fetch, self._received, connected=True)
        for file in self._files.values():
            if not file.verify():
                raise DataLoss(f"{file.path} does not match its checksum; it was deleted here: {self._advice()}")
        # The manifest last: where it is, the checkpoint is complete.
        for path in sorted(self._files, key=lambda path: path == MANIFEST):
            self._files[path].publish()

    def _refuse_another(self):
        manifest = self._files.get(MANIFEST)
        if os.path.lexists(self._directory / MANIFEST) and not (manifest and manifest.is_there()):
            raise FailedPrecondition(f"{self._directory} holds another checkpoint: its {MANIFEST} is not that of "
                                     f"{self._checkpoint.name}; take another directory")

    def _advice(self):
        if self._checkpoint.damage:
            return f"{self._checkpoint.name} is damaged ({self._checkpoint.damage}); take another checkpoint"
        return "download again to fetch it anew; if that does not help, verify() says whether the checkpoint is damaged"

    def _fetch(self):
        if self._complete():
            return
        total = sum(file.bytes for file in self._files.values())
        name = self._checkpoint.name
        offsets = {path: file.received for path, file in self._files.items()}
        with contextlib.closing(self._connection.stream("CheckpointService.DownloadCheckpoint", name=name,
                                                        offsets=offsets)) as answers:
            for answer in answers:
                if answer.HasField("checkpoint") and answer.checkpoint.name != name:
                    raise _protocol_error(f"asked for {name}, it sends {answer.checkpoint.name}")
                if not answer.data:
                    continue
                if answer.path not in self._files:
                    raise _protocol_error(f"'{answer.path}' was not announced")
                self._files[answer.path].take(answer.offset, answer.data)
                self._on_progress(self._received(), total)
        if not self._complete():
            raise _protocol_error("it ended before all files were complete")

    def _complete(self):
        return all(file.complete for file in self._files.values())

    def _received(self):
        return sum(file.received for file in self._files.values())


class _PartialFile:
    """One file, which has its own name once it is complete and right."""

    def __init__(self, description, directory):
        self.path, self.bytes, self.received = description.path, description.bytes, 0
        self._sha256 = description.sha256
        self._target = directory / description.path
        self._partial = self._target.with_name(f"{self._target.name}.{description.sha256[:12]}.part")
        self._at_target, self._stream = False, None

    @property
    def complete(self):
        return self.received == self.bytes

    def is_there(self):
        """Under its own name, and right."""
        return self._is_right(self._target)

    def prepare(self):
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._at_target = self.is_there()
        if self._at_target:
            self.received = self.bytes
        elif self._partial.exists():
            self.received = self._partial.stat().st_size
            if self.received > self.bytes:
                self._partial.unlink()
                self.received = 0

    def open(self, opened):
        if not self._at_target:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
            self._stream = opened.enter_context(open(os.open(self._partial, flags, 0o644), "ab"))

    def take(self, offset, data):
        if offset != self.received or len(data) > self.bytes - self.received:
            raise _protocol_error(f"{len(data)} bytes at {offset} of {self._target.name}, which has {self.received} "
                                  f"of {self.bytes}")
        self._stream.write(data)
        self.received += len(data)
        if self.complete:
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def verify(self):
        """Whether what came is right; it is deleted where it is not."""
        right = self._at_target or self._is_right(self._partial)
        if not right:
            self._partial.unlink()
        return right

    def publish(self):
        if not self._at_target:
            self._partial.rename(self._target)

    def _is_right(self, path):
        if path.is_symlink() or not path.is_file() or path.stat().st_size != self.bytes:
            return False
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        return digest.hexdigest() == self._sha256


def _protocol_error(what):
    return DataLoss(f"the coordinator's download makes no sense: {what}")
