"""What one does with a Wavefield cluster, a method for each."""

import contextlib
import math
import os
import time
import uuid

from . import api, errors, names
from .connection import Connection
from .downloads import Download
from .specs import build_spec
from .tables import Table, evaluation_row, step_row

_ENDED = {api.JobState.Value(f"JOB_STATE_{name}") for name in ("SUCCEEDED", "FAILED", "CANCELLED")}


def has_ended(job):
    """A Job that succeeded, failed or was cancelled."""
    return job.state in _ENDED


def state_of(job):
    """ "RUNNING", "SUCCEEDED", … """
    return api.JobState.Name(job.state).removeprefix("JOB_STATE_")


class Client:
    """A connection to a coordinator. Thread-safe; `with Client(…) as client` closes it at the end.

    address: HOST:PORT; default: WAVEFIELD_ADDRESS, or 127.0.0.1:7070. token: the bearer token itself. ca: file of the
    PEM certificates that vouch for the coordinator; switches TLS on. timeout: seconds a single call may take.

    Jobs are named "first", datasets "words", checkpoints "first" (its newest) or "first@100"; full names
    ("jobs/first/checkpoints/100-1") and the messages themselves do as well. Answers are the messages of
    `wavefield.api`; errors are WavefieldError."""

    def __init__(self, address=None, token=None, ca=None, timeout=30.0):
        address = address or os.environ.get("WAVEFIELD_ADDRESS") or "127.0.0.1:7070"
        self._connection = Connection(address, token, ca, timeout)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        self._connection.close()

    # ---- jobs

    def submit(self, spec=None, *, name="", overrides=None, validate_only=False, request_id=None, **fields):
        """Queues a job and returns it.

        spec: a dict, JSON, a pathlib.Path of a file of JSON, the name of a preset, or a JobSpec. overrides: fields by
        path, {"training.max_steps": 100}; as keywords with "__" for the dot: training__max_steps=100. validate_only:
        the answer is the job as it would be. request_id: submitting again with the same one returns the same job.

        Raises InvalidSpec, whose `violations` name every field that is wrong."""
        paths = {key.replace("__", "."): value for key, value in fields.items()}
        built = build_spec(spec, {**(overrides or {}), **paths})
        return self._connection.unary(
            "JobService.CreateJob", job_id=names.resource_id(names.job_name(name)) if name else "", spec=built,
            validate_only=validate_only, request_id=request_id or uuid.uuid4().hex)

    def get(self, job):
        return self._connection.unary("JobService.GetJob", name=names.job_name(job))

    def list(self, filter=""):
        """All jobs, newest first, as they are asked for. filter: "state=RUNNING"."""
        return self._items("JobService.ListJobs", "jobs", filter=filter)

    def cancel(self, job, request_id=None):
        """Asks a job to stop; a running one writes a last checkpoint first."""
        return self._connection.unary("JobService.CancelJob", name=names.job_name(job),
                                      request_id=request_id or uuid.uuid4().hex)

    def watch(self, job, *, history=True, from_revision=0, reconnect_for=300.0):
        """Yields a WatchJobResponse for every change until the job has ended: `job` where it changed, new `steps` and
        `evaluations`, and the `revision`, from which another watch can go on.

        history: what came before is sent first. from_revision: only what came after it is sent. A lost
        connection is taken up again where it broke, for `reconnect_for` seconds; the first one is not retried."""
        request = {"name": names.job_name(job), "from_revision": from_revision,
                   "include_history": history and from_revision == 0}
        latest, connected, lost_at, pause = None, False, None, 0.1
        while True:
            try:
                with contextlib.closing(self._connection.stream("JobService.WatchJob", **request)) as updates:
                    for update in updates:
                        connected, lost_at, pause = True, None, 0.1
                        if update.HasField("job"):
                            latest = update.job
                        request["from_revision"] = max(request["from_revision"], update.revision)
                        # What came so far need not come again.
                        request["include_history"] = history and request["from_revision"] == 0
                        yield update
                if latest is not None and has_ended(latest):
                    return
                lost = errors.Unavailable("the coordinator closed the watch")
            except (errors.Unavailable, errors.Cancelled, errors.Aborted) as error:
                if not connected:
                    raise
                lost = error
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > reconnect_for:
                raise errors.Unavailable(
                    f"lost the coordinator for more than {reconnect_for:g} s ({lost.message}); the job may still run: "
                    f"go on with from_revision={request['from_revision']}") from lost
            time.sleep(pause)
            pause = min(2 * pause, 2.0)

    def wait(self, job, *, reconnect_for=300.0):
        """Waits until a job has ended and returns it as it is then."""
        latest = None
        for update in self.watch(job, history=False, reconnect_for=reconnect_for):
            if update.HasField("job"):
                latest = update.job
        return latest

    # ---- history

    def metrics(self, job, *, after_step=0, stride=1):
        """A row for every step (every `stride`-th after `after_step`), oldest first: a list of dicts."""
        pages = self._history(job, after_step, stride)
        return Table(step_row(step) for page in pages for step in page.steps)

    def evaluations(self, job, *, after_step=0):
        """A row for every evaluation, oldest first: a list of dicts."""
        pages = self._history(job, after_step, 1)
        return Table(evaluation_row(evaluation) for page in pages for evaluation in page.evaluations)

    def field_health(self, job):
        """How layers and heads were at the job's evaluations, newest first: FieldHealth, as they are asked for."""
        return self._items("JobService.ListFieldHealth", "points", parent=names.job_name(job))

    def goodput(self, job):
        """Where the time of a job's slots went: slot-seconds by bucket, their `total`, and the `ratio` of useful
        steps."""
        goodput = self.get(job).goodput
        seconds = {field.name: getattr(goodput, field.name) / 1000 for field in goodput.DESCRIPTOR.fields}
        return seconds | {"ratio": goodput.useful_steps / goodput.total if goodput.total else math.nan}

    # ---- checkpoints

    def checkpoints(self, job=None):
        """Checkpoints of a job, or of all, newest first, as they are asked for."""
        parent = "jobs/-" if job is None else names.job_name(job)
        return self._items("CheckpointService.ListCheckpoints", "checkpoints", parent=parent)

    def checkpoint(self, checkpoint):
        return self._connection.unary("CheckpointService.GetCheckpoint", name=names.checkpoint_name(checkpoint))

    def download(self, checkpoint, directory, on_progress=None):
        """Brings a checkpoint's files into `directory` and returns the Checkpoint. Every file is checked against its
        SHA-256 (else DataLoss); what an earlier try left is gone on with. on_progress: called with bytes so far, and
        in all."""
        found = self.checkpoint(checkpoint)
        Download(self._connection, found, directory, on_progress).run()
        return found

    # ---- inference, in a free slot of the cluster

    def evaluate(self, checkpoint, *, dataset=None, max_tokens=0, token_ids=(), sequence_length=0, on_progress=None,
                 timeout=None):
        """The EvaluationResult of a checkpoint on held-out text; default: all of the job's own. token_ids: one window
        of ids in place of a dataset. on_progress: called with the result so far."""
        result = None
        for output in self._connection.stream(
                "InferenceService.Evaluate", timeout, checkpoint=names.checkpoint_name(checkpoint),
                dataset=names.dataset_name(dataset) if dataset else "", max_tokens=max_tokens, token_ids=token_ids,
                sequence_length=sequence_length):
            if output.done:
                result = output.evaluation
            elif on_progress and output.HasField("evaluation"):
                on_progress(output.evaluation)
        if result is None:
            raise errors.Internal("the evaluation ended without a result")
        return result

    def generate(self, checkpoint, prompt, *, max_tokens=128, temperature=0.8, seed=1, timeout=None):
        """Continues `prompt`: a Generation, which yields text as it comes. temperature 0: the most likely token."""
        return Generation(self._connection.stream(
            "InferenceService.Generate", timeout, checkpoint=names.checkpoint_name(checkpoint), prompt=prompt,
            max_tokens=max_tokens, temperature=temperature, seed=seed))

    def audit_causality(self, checkpoint, *, dataset=None, windows=0, sequence_length=0, changes_per_window=0, seed=0,
                        timeout=None):
        """The CausalityReport of a checkpoint; one that has not `passed` is no error. 0: the coordinator's default."""
        report = None
        for output in self._connection.stream(
                "InferenceService.AuditCausality", timeout, checkpoint=names.checkpoint_name(checkpoint),
                dataset=names.dataset_name(dataset) if dataset else "", windows=windows,
                sequence_length=sequence_length, changes_per_window=changes_per_window, seed=seed):
            if output.HasField("causality"):
                report = output.causality
        if report is None:
            raise errors.Internal("the audit ended without a report")
        return report

    # ---- the cluster

    def workers(self):
        """All workers, as they are asked for."""
        return self._items("WorkerService.ListWorkers", "workers")

    def datasets(self):
        """All datasets, as they are asked for."""
        return self._items("DatasetService.ListDatasets", "datasets")

    def dataset(self, dataset):
        return self._connection.unary("DatasetService.GetDataset", name=names.dataset_name(dataset))

    def _items(self, method, field, **fields):
        for page in self._connection.pages(method, **fields):
            yield from getattr(page, field)

    def _history(self, job, after_step, stride):
        return self._connection.pages("JobService.ListMetrics", parent=names.job_name(job), after_step=after_step,
                                      stride=stride, page_size=10000)


class Generation:
    """Text as a model writes it: an iterator over pieces; the model starts with the first. `text` is what came so far;
    `summary` (a GenerationSummary) is None until the end."""

    def __init__(self, outputs):
        self._outputs, self.text, self.summary = outputs, "", None

    def __iter__(self):
        return self

    def __next__(self):
        for output in self._outputs:
            if output.HasField("summary"):
                self.summary = output.summary
            if output.text:
                self.text += output.text
                return output.text
        raise StopIteration

    def close(self):
        """Stops the model."""
        self._outputs.close()
