"""Checkpoints: list, keep, check, move, compare, remove."""

from . import errors, names
from .calls import Calls, request_id_or_new
from .downloads import Download
from .uploads import CheckpointUpload


class Checkpoints(Calls):

    def checkpoints(self, job=None, *, filter="", order_by=""):
        """Checkpoints of a job, or of all, newest first unless `order_by` says otherwise, as they are asked for.
        filter: "evaluation_loss<3 AND pinned=true"; proto/wavefield/v1/checkpoint_service.proto has the fields."""
        return self._items("CheckpointService.ListCheckpoints", "checkpoints", parent=_parent(job), filter=filter,
                           order_by=order_by)

    def checkpoint(self, checkpoint):
        return self._connection.unary("CheckpointService.GetCheckpoint", name=names.checkpoint_name(checkpoint))

    def download(self, checkpoint, directory, on_progress=None):
        """Brings a checkpoint's files into `directory` and returns the Checkpoint. Every file is checked against its
        SHA-256 (else DataLoss); what an earlier try left is gone on with. A directory that holds another checkpoint
        is left as it is: FailedPrecondition. on_progress: called with bytes so far, and in all."""
        found = self.checkpoint(checkpoint)
        Download(self._connection, found, directory, on_progress).run()
        return found

    def upload(self, directory, job, *, note="", on_progress=None):
        """Takes the checkpoint in `directory` into the catalogue, held by the new job `job`; what an earlier try left is
        gone on with. on_progress: called with bytes so far, and in all. Returns the Checkpoint."""
        job_id = names.resource_id(names.job_name(job))
        return CheckpointUpload(self._connection, directory, job_id, note, on_progress).run()

    def pin(self, checkpoint, note=None, request_id=None):
        """Keeps a checkpoint for ever."""
        changes = {"pinned": True} if note is None else {"pinned": True, "note": note}
        return self._update(checkpoint, changes, request_id)

    def unpin(self, checkpoint, request_id=None):
        return self._update(checkpoint, {"pinned": False}, request_id)

    def note(self, checkpoint, note, request_id=None):
        return self._update(checkpoint, {"note": note}, request_id)

    def verify(self, checkpoint, *, on_progress=None, timeout=None):
        """Has every file of a checkpoint read and hashed again; the Checkpoint, whose `damage` says what is wrong, if
        anything. on_progress: called with bytes so far, and in all."""
        found = None
        for answer in self._connection.stream("CheckpointService.VerifyCheckpoint", timeout,
                                              name=names.checkpoint_name(checkpoint)):
            if answer.HasField("checkpoint"):
                found = answer.checkpoint
            elif on_progress:
                on_progress(answer.verified_bytes, answer.total_bytes)
        if found is None:
            raise errors.Internal("the verification ended without an outcome")
        return found

    def delete_checkpoint(self, checkpoint, *, validate_only=False, request_id=None):
        """Removes one, which must be named: a job alone does not mean its newest here. FailedPrecondition says why it
        cannot be."""
        return self._connection.unary(
            "CheckpointService.DeleteCheckpoint", name=names.chosen_checkpoint_name(checkpoint),
            validate_only=validate_only, request_id=request_id_or_new(request_id))

    def delete_checkpoints(self, filter, job=None, *, validate_only=False, request_id=None):
        """Removes those that `filter` selects and that may be removed; a CheckpointDecision for each that it selects."""
        return list(self._connection.unary(
            "CheckpointService.DeleteCheckpoints", parent=_parent(job), filter=filter, validate_only=validate_only,
            request_id=request_id_or_new(request_id)).decisions)

    def collect_garbage(self, job=None, *, validate_only=False, request_id=None):
        """Applies the jobs' retention rules now: `decisions`, `removed_bytes`, and `orphans`, which nobody removes."""
        return self._connection.unary("CheckpointService.CollectGarbage", parent=_parent(job),
                                      validate_only=validate_only, request_id=request_id_or_new(request_id))

    def diff(self, a, b):
        """Settings, metrics and weights of two checkpoints side by side: a DiffCheckpointsResponse."""
        return self._connection.unary("CheckpointService.DiffCheckpoints", a=names.checkpoint_name(a),
                                      b=names.checkpoint_name(b))

    def lineage(self, job):
        """LineageNode of everything that hangs together with a job's checkpoints, parents first."""
        return list(self._connection.unary("CheckpointService.GetLineage", name=names.job_name(job)).nodes)

    def _update(self, checkpoint, changes, request_id):
        return self._connection.unary(
            "CheckpointService.UpdateCheckpoint",
            checkpoint={"name": names.checkpoint_name(checkpoint), **changes},
            update_mask={"paths": sorted(changes)}, request_id=request_id_or_new(request_id))


def _parent(job):
    return "jobs/-" if job is None else names.job_name(job)
