"""Client of the Wavefield training service: `wavefield.Client`."""

from importlib import metadata

from . import api
from .client import Client
from .errors import (Aborted, AlreadyExists, Cancelled, DataLoss, DeadlineExceeded, FailedPrecondition, Internal,
                     InvalidArgument, InvalidSpec, NotFound, OutOfRange, PermissionDenied, ResourceExhausted,
                     Unauthenticated, Unavailable, Unimplemented, Violation, WavefieldError)
from .inference import Generation
from .jobs import has_ended, state_of
from .specs import build_spec
from .tables import Table, to_dict

__all__ = [
    "Aborted", "AlreadyExists", "Cancelled", "Client", "DataLoss", "DeadlineExceeded", "FailedPrecondition",
    "Generation", "Internal", "InvalidArgument", "InvalidSpec", "NotFound", "OutOfRange", "PermissionDenied",
    "ResourceExhausted", "Table", "Unauthenticated", "Unavailable", "Unimplemented", "Violation", "WavefieldError",
    "api", "build_spec", "has_ended", "state_of", "to_dict",
]

__version__ = metadata.version(__name__)
