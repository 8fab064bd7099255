"""Streams both ways: what is sent depends on what came."""

import queue

_END = object()


class Exchange:
    """An open call. `send` and `finish` from one thread, which also iterates over the answers."""

    def __init__(self, connection, method):
        self._outgoing = queue.Queue(maxsize=4)
        self._over = False
        self.answers = connection.exchange(method, iter(self._outgoing.get, _END), self._stop)

    def send(self, **fields):
        """False when the call is over: the answers say why."""
        return self._put(fields)

    def finish(self):
        self._put(_END)

    def _put(self, item):
        while not self._over:
            try:
                self._outgoing.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def _stop(self):
        self._over = True
        while True:
            try:
                self._outgoing.put_nowait(_END)
                return
            except queue.Full:
                try:
                    self._outgoing.get_nowait()
                except queue.Empty:
                    pass
