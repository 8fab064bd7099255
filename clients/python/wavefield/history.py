"""What jobs reported, as rows."""

import math

from . import names
from .calls import Calls
from .tables import Table, evaluation_row, step_row


class History(Calls):

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

    def _history(self, job, after_step, stride):
        return self._connection.pages("JobService.ListMetrics", parent=names.job_name(job), after_step=after_step,
                                      stride=stride, page_size=10000)
