"""Names of jobs, datasets and checkpoints, as people write them and as the service takes them."""

import re

from .errors import InvalidArgument

_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_CHECKPOINT_ID = re.compile(r"latest|[0-9]{1,18}(-[0-9]{1,18})?")


def job_name(job):
    """ "first" and "jobs/first" are "jobs/first"; so is a Job. """
    return _name(job, "jobs/", "job")


def dataset_name(dataset):
    """ "words" and "datasets/words" are "datasets/words"; so is a Dataset. """
    return _name(dataset, "datasets/", "dataset")


def worker_name(worker):
    """ "w1" and "workers/w1" are "workers/w1"; so is a Worker. """
    return "workers/" + _text(worker).removeprefix("workers/")


def checkpoint_name(checkpoint):
    """ "first" (its newest), "first@100", "jobs/first/checkpoints/100-1", a Job (its newest), or a Checkpoint. """
    text = _text(checkpoint)
    job, separator, found = text.partition("@" if "@" in text else "/checkpoints/")
    if separator and not _CHECKPOINT_ID.fullmatch(found):
        raise InvalidArgument(
            f"'{text}' does not name a checkpoint: write JOB for the newest, JOB@STEP, or "
            f"jobs/JOB/checkpoints/STEP-EPOCH ('{found}' is not a step)")
    return f"{job_name(job)}/checkpoints/{found or 'latest'}"


def chosen_checkpoint_name(checkpoint):
    """As `checkpoint_name`, but a job alone names none: for what cannot be undone."""
    text = _text(checkpoint)
    if "@" not in text and "/checkpoints/" not in text:
        raise InvalidArgument(f"'{text}' names no checkpoint: write {resource_id(text)}@STEP, or remove several of the "
                              "job with delete_checkpoints()")
    return checkpoint_name(checkpoint)


def resource_id(name):
    return name.rpartition("/")[2]


def _text(named):
    return named if isinstance(named, str) else named.name


def _name(named, collection, kind):
    text = _text(named)
    found = text.removeprefix(collection)
    if not _ID.fullmatch(found):
        raise InvalidArgument(
            f"'{text}' is not the name of a {kind}: a name has a lower-case letter, then at most 62 of "
            "a-z, 0-9 and '-'")
    return collection + found
