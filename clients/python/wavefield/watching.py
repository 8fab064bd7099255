"""Streams that are taken up again where they broke."""

import contextlib
import time

from . import errors


def resumed(connection, method, request, advance, finished, reconnect_for):
    """Yields the answers of a stream. advance: called with each answer, to change `request` so that it asks for what
    comes after it. finished: says, when the stream ends in good order, whether that is the end. A lost connection is
    taken up again for `reconnect_for` seconds; the first one is not retried."""
    connected, lost_at, pause = False, None, 0.1
    while True:
        try:
            with contextlib.closing(connection.stream(method, **request)) as answers:
                for answer in answers:
                    connected, lost_at, pause = True, None, 0.1
                    advance(answer)
                    yield answer
            if finished():
                return
            lost = errors.Unavailable("the coordinator closed the stream")
        except (errors.Unavailable, errors.Cancelled, errors.Aborted) as error:
            if not connected:
                raise
            lost = error
        lost_at = lost_at or time.monotonic()
        if time.monotonic() - lost_at > reconnect_for:
            place = ", ".join(f"{key}={request[key]!r}" for key in ("from_revision", "cursor") if key in request)
            raise errors.Unavailable(
                f"lost the coordinator for more than {reconnect_for:g} s ({lost.message}); go on with {place}") from lost
        time.sleep(pause)
        pause = min(2 * pause, 2.0)
