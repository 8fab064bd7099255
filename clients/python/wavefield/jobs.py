"""Jobs: submit, look, change, watch, explain, end."""

import datetime
import itertools

from . import api, errors, names
from .calls import Calls, request_id_or_new
from .specs import build_spec
from .watching import resumed

_ENDED = {api.JobState.Value(f"JOB_STATE_{name}") for name in ("SUCCEEDED", "FAILED", "CANCELLED")}
_MAX_ARRAY = 1000


def has_ended(job):
    """A Job that succeeded, failed or was cancelled."""
    return job.state in _ENDED


def state_of(job):
    """ "RUNNING", "SUCCEEDED", … """
    return api.JobState.Name(job.state).removeprefix("JOB_STATE_")


class Jobs(Calls):

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
            validate_only=validate_only, request_id=request_id_or_new(request_id))

    def submit_grid(self, spec=None, grid=None, *, name, overrides=None, validate_only=False, request_id=None):
        """Queues a job for every combination of `grid`, {"training.seed": [1, 2], "model.n_layers": [4, 8]}: all of
        them, or none. They are called NAME-0, NAME-1, … and labelled array=NAME. Returns them in that order."""
        stem = names.resource_id(names.job_name(name))
        axes = {path: list(values) for path, values in (grid or {}).items()}
        count = 1
        for path, values in axes.items():
            if not values:
                raise errors.InvalidArgument(f"the grid has no values for {path}")
            count *= len(values)
        if count > _MAX_ARRAY:
            raise errors.InvalidArgument(f"the grid has {count} combinations; at most {_MAX_ARRAY} are one array")
        requests = []
        for index, values in enumerate(itertools.product(*axes.values())):
            built = build_spec(spec, {**(overrides or {}), **dict(zip(axes, values))})
            built.labels["array"] = stem
            requests.append({"job_id": f"{stem}-{index}", "spec": built})
        return list(self._connection.unary(
            "JobService.BatchCreateJobs", requests=requests, validate_only=validate_only,
            request_id=request_id_or_new(request_id)).jobs)

    def get(self, job):
        return self._connection.unary("JobService.GetJob", name=names.job_name(job))

    def list(self, filter="", order_by=""):
        """All jobs, newest first unless `order_by` says otherwise, as they are asked for. filter: "state=RUNNING AND
        labels.team=a"; proto/wavefield/v1/job_service.proto has the language."""
        return self._items("JobService.ListJobs", "jobs", filter=filter, order_by=order_by)

    def update(self, job, *, request_id=None, **fields):
        """Changes a job: labels={…} (all of them), priority=…, checkpoint__keep_last=…, training__max_steps=…,
        restart__max_restarts=…; "__" stands for the dot."""
        paths = {key.replace("__", "."): value for key, value in fields.items()}
        changed = api.Job(name=names.job_name(job), spec=build_spec(None, paths))
        return self._connection.unary("JobService.UpdateJob", job=changed,
                                      update_mask={"paths": [f"spec.{path}" for path in paths]},
                                      request_id=request_id_or_new(request_id))

    def pause(self, job, request_id=None):
        """Takes a job off its slots until it is resumed; a running one writes a checkpoint first."""
        return self._change("JobService.PauseJob", job, request_id)

    def resume(self, job, request_id=None):
        """Queues a job again that is paused, or ended before its budget was used up."""
        return self._change("JobService.ResumeJob", job, request_id)

    def cancel(self, job, request_id=None):
        """Asks a job to stop; a running one writes a last checkpoint first."""
        return self._change("JobService.CancelJob", job, request_id)

    def cancel_all(self, filter, *, validate_only=False, request_id=None):
        """Cancels the jobs that `filter` selects, and returns them; validate_only: only says which."""
        return list(self._connection.unary("JobService.CancelJobs", filter=filter, validate_only=validate_only,
                                           request_id=request_id_or_new(request_id)).jobs)

    def delete(self, job, *, validate_only=False, request_id=None):
        """Removes a job that has ended, with its history, logs and checkpoints."""
        return self._connection.unary("JobService.DeleteJob", name=names.job_name(job), validate_only=validate_only,
                                      request_id=request_id_or_new(request_id))

    def explain(self, job):
        """The JobExplanation: what a waiting job waits for, or the root cause of a failure."""
        return self._connection.unary("JobService.ExplainJob", name=names.job_name(job))

    def queue(self):
        """QueueEntry of every waiting job, the next one first, as they are asked for."""
        return self._items("JobService.ListQueue", "entries")

    def watch(self, job, *, history=True, from_revision=0, reconnect_for=300.0):
        """Yields a WatchJobResponse for every change until the job has ended: `job` where it changed, new `steps` and
        `evaluations`, and the `revision`, from which another watch can go on.

        history: what came before is sent first. from_revision: only what came after it is sent. A lost
        connection is taken up again where it broke, for `reconnect_for` seconds; the first one is not retried."""
        return self._watch(job, history, from_revision, reconnect_for)

    def _watch(self, job, history, from_revision, reconnect_for, timeout=None):
        request = {"name": names.job_name(job), "from_revision": from_revision,
                   "include_history": history and from_revision == 0}
        latest = None

        def advance(update):
            nonlocal latest
            if update.HasField("job"):
                latest = update.job
            request["from_revision"] = max(request["from_revision"], update.revision)
            # What came so far need not come again.
            request["include_history"] = history and request["from_revision"] == 0

        return resumed(self._connection, "JobService.WatchJob", request, advance,
                       lambda: latest is not None and has_ended(latest), reconnect_for, timeout=timeout)

    def watch_all(self, filter="", *, from_revision=0, reconnect_for=300.0):
        """Yields a WatchJobsResponse for the jobs that `filter` selects, then for every change of them; it has no end
        of its own. Reconnects as `watch` does."""
        request = {"filter": filter, "from_revision": from_revision}

        def advance(update):
            request["from_revision"] = update.revision

        return resumed(self._connection, "JobService.WatchJobs", request, advance, lambda: False, reconnect_for)

    def wait(self, job, timeout=None, *, reconnect_for=300.0):
        """Waits until a job has ended and returns it as it is then. timeout: seconds until DeadlineExceeded, which
        changes nothing for the job."""
        latest = None
        try:
            for update in self._watch(job, False, 0, reconnect_for, timeout):
                if update.HasField("job"):
                    latest = update.job
        except errors.DeadlineExceeded:
            if timeout is None:
                raise
            seen = f"it was {state_of(latest)}" if latest else "nothing was heard of it"
            raise errors.DeadlineExceeded(
                f"{names.job_name(job)} did not end within {timeout:g} s: {seen}; it goes on") from None
        return latest

    def logs(self, job, *, rank=None, attempt=0, since=None, tail=0, follow=False, reconnect_for=300.0):
        """Yields what the ranks of a job printed, a LogLine each. since: a datetime, or a timedelta before now. tail:
        only the last so many lines of what is there. follow: goes on until the job has ended; reconnects as `watch`
        does."""
        request = {"name": names.job_name(job), "attempt": attempt, "tail": tail, "follow": follow, "cursor": ""}
        if rank is not None:
            request["rank"] = rank
        if since is not None:
            request["since"] = _moment(since)

        def advance(answer):
            request["cursor"] = answer.cursor or request["cursor"]
            request["tail"] = 0 if request["cursor"] else tail

        # The stream says nothing until there is a line: what is wrong with the call shows here.
        self.get(job)
        for answer in resumed(self._connection, "JobService.ReadLogs", request, advance, lambda: True, reconnect_for,
                              connected=True):
            yield from answer.lines

    def _change(self, method, job, request_id):
        return self._connection.unary(method, name=names.job_name(job), request_id=request_id_or_new(request_id))


def _moment(since):
    if isinstance(since, datetime.timedelta):
        since = datetime.datetime.now(datetime.timezone.utc) - since
    if not isinstance(since, datetime.datetime):
        raise errors.InvalidArgument(f"since is {since!r}; allowed: a datetime, or a timedelta before now")
    return api.message_class("google.protobuf.Timestamp")(seconds=int(since.timestamp()),
                                                          nanos=since.microsecond * 1000)
