"""The client: what one does with a Wavefield cluster, a method for each."""

import os

from . import profiles
from .checkpoints import Checkpoints
from .cluster import Cluster
from .connection import Connection
from .history import History
from .inference import Inference
from .jobs import Jobs


class Client(Jobs, History, Checkpoints, Inference, Cluster):
    """A connection to a coordinator. Thread-safe; `with Client(…) as client` closes it at the end.

    address: HOST:PORT; default: WAVEFIELD_ADDRESS, or 127.0.0.1:7070. token: the bearer token itself. ca: file of the
    PEM certificates that vouch for the coordinator; switches TLS on. client_certificate, client_key: PEM files, for
    coordinators that ask clients for a certificate. timeout: seconds a single call may take.

    Jobs are named "first", datasets "words", checkpoints "first" (its newest) or "first@100"; full names
    ("jobs/first/checkpoints/100-1") and the messages themselves do as well. Answers are the messages of
    `wavefield.api`; errors are WavefieldError."""

    def __init__(self, address=None, token=None, ca=None, timeout=30.0, client_certificate=None, client_key=None):
        address = address or os.environ.get("WAVEFIELD_ADDRESS") or "127.0.0.1:7070"
        super().__init__(Connection(address, token, ca, timeout, client_certificate, client_key))

    @classmethod
    def from_profile(cls, name=None, timeout=30.0):
        """A client of the cluster that `wavefield login` keeps under `name`; default: WAVEFIELD_PROFILE, or the profile
        that is used now."""
        return cls(timeout=timeout, **profiles.load(name))

    def __repr__(self):
        return f"wavefield.Client({self._connection.address!r})"

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Ends what is under way; calls raise FailedPrecondition from then on."""
        self._connection.close()
