"""Streams that are taken up again where they broke."""

import contextlib
import math
import time

from . import errors


_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_LOST = (errors.Unavailable, errors.Cancelled, errors.Aborted)


def retried(attempt, progress, connected=False, retry_for=60.0):
    """What `attempt` returns. A connection that breaks is taken up again, ever more slowly, until `progress()` has not
    grown for `retry_for` seconds; before it ever did, only if the coordinator was there just now (`connected`)."""
    most, lost_at, pause = progress(), None, _FIRST_PAUSE
    while True:
        try:
            return attempt()
        except _LOST:
            if progress() > most:
                most, connected, lost_at, pause = progress(), True, None, _FIRST_PAUSE
            lost_at = lost_at or time.monotonic()
            if not connected or time.monotonic() - lost_at > retry_for:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def resumed(connection, method, request, advance, finished, reconnect_for, connected=False, timeout=None):
    """Yields the answers of a stream. advance: called with each answer, to change `request` so that it asks for what
    comes after it. finished: says, when the stream ends in good order, whether that is the end. A lost connection is
    taken up again for `reconnect_for` seconds; the first one is not retried, unless the coordinator was there just now
    (`connected`). timeout: seconds until DeadlineExceeded, lost connections included."""
    lost_at, pause = None, _FIRST_PAUSE
    ends_at = math.inf if timeout is None else time.monotonic() + timeout
    while True:
        left = ends_at - time.monotonic()
        if left <= 0:
            raise errors.DeadlineExceeded(f"the stream was not over within {timeout:g} s")
        try:
            limit = None if left == math.inf else left
            with contextlib.closing(connection.stream(method, limit, **request)) as answers:
                for answer in answers:
                    connected, lost_at, pause = True, None, _FIRST_PAUSE
                    advance(answer)
                    yield answer
            if finished():
                return
            lost = errors.Unavailable("the coordinator closed the stream")
        except _LOST as error:
            if not connected:
                raise
            lost = error
        lost_at = lost_at or time.monotonic()
        if time.monotonic() - lost_at > reconnect_for:
            place = ", ".join(f"{key}={request[key]!r}" for key in ("from_revision", "cursor") if key in request)
            raise errors.Unavailable(
                f"lost the coordinator for more than {reconnect_for:g} s ({lost.message}); go on with {place}") from lost
        time.sleep(max(0, min(pause, ends_at - time.monotonic())))
        pause = min(2 * pause, _LONGEST_PAUSE)
