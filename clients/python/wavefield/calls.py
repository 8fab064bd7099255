"""What the parts of a client share."""

import uuid


class Calls:
    """A part of the client: methods that call through `_connection`."""

    def __init__(self, connection):
        self._connection = connection

    def _items(self, method, field, **fields):
        for page in self._connection.pages(method, **fields):
            yield from getattr(page, field)


def request_id_or_new(request_id):
    """Of a change: asking again with the same one changes nothing more."""
    return request_id or uuid.uuid4().hex
