"""What can go wrong, by type. All are WavefieldError."""

import dataclasses
import re

import grpc

from . import api


@dataclasses.dataclass(frozen=True)
class Violation:
    """What is wrong with one field: "training.max_steps" and why."""

    field: str
    description: str

    def __str__(self):
        return f"{self.field}: {self.description}" if self.field else self.description


class WavefieldError(Exception):
    """An error of the service, or on the way to it.

    message: for people. code: a grpc.StatusCode. reason: a word for programs, as "SLOTS_EXHAUSTED", or "".
    violations: of fields, where the service named them."""

    code = grpc.StatusCode.UNKNOWN

    def __init__(self, message, *, code=None, reason="", violations=()):
        self.message, self.reason, self.violations = message, reason, tuple(violations)
        self.code = code or type(self).code
        unsaid = [str(found) for found in self.violations if not _says(message, found)]
        super().__init__("\n  ".join([message, *unsaid]))


class InvalidArgument(WavefieldError):
    code = grpc.StatusCode.INVALID_ARGUMENT


class InvalidSpec(InvalidArgument):
    """A job's specification is wrong; `violations` names every field that is."""


class NotFound(WavefieldError):
    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(WavefieldError):
    code = grpc.StatusCode.ALREADY_EXISTS


class Unauthenticated(WavefieldError):
    """The token is missing, wrong or out of date."""

    code = grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(WavefieldError):
    code = grpc.StatusCode.PERMISSION_DENIED


class FailedPrecondition(WavefieldError):
    code = grpc.StatusCode.FAILED_PRECONDITION


class ResourceExhausted(WavefieldError):
    """No slot is free, or the coordinator has too much to do."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Aborted(WavefieldError):
    code = grpc.StatusCode.ABORTED


class Cancelled(WavefieldError):
    code = grpc.StatusCode.CANCELLED


class OutOfRange(WavefieldError):
    code = grpc.StatusCode.OUT_OF_RANGE


class Unimplemented(WavefieldError):
    """The coordinator is older than this client."""

    code = grpc.StatusCode.UNIMPLEMENTED


class Internal(WavefieldError):
    code = grpc.StatusCode.INTERNAL


class DataLoss(WavefieldError):
    """Bytes are not what their checksum says."""

    code = grpc.StatusCode.DATA_LOSS


class Unavailable(WavefieldError):
    """The coordinator cannot be reached."""

    code = grpc.StatusCode.UNAVAILABLE


class DeadlineExceeded(WavefieldError):
    """The coordinator did not answer in time."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


_BY_CODE = {kind.code: kind for kind in WavefieldError.__subclasses__()}

_IN_BATCH = re.compile(r"^requests\[\d+\]\.")
_TAKE_SPECS = ("JobService.CreateJob", "JobService.BatchCreateJobs", "JobService.UpdateJob")


def from_rpc(error, address, method=""):
    """The typed error of a grpc.RpcError that a call of `method` ("JobService.GetJob") at `address` ended with."""
    code, message = error.code(), error.details() or ""
    reason, violations = _details(error)
    if code == grpc.StatusCode.UNAVAILABLE:
        message = f"cannot reach the coordinator at {address} ({message})"
    elif code == grpc.StatusCode.DEADLINE_EXCEEDED:
        message = f"the coordinator at {address} did not answer in time; give the call a longer timeout"
    elif code == grpc.StatusCode.UNAUTHENTICATED:
        message = f"{address} refused the call: {message}"
    kind = _BY_CODE.get(code, WavefieldError)
    if kind is InvalidArgument and method in _TAKE_SPECS:
        # What is wrong with the rest of a request is named as one of its fields.
        own = {name for asked in (method, "JobService.CreateJob")
               for name in api.method(*asked.split(".")).input_type.fields_by_name} - {"spec"}
        if any(_IN_BATCH.sub("", found.field) not in own for found in violations):
            kind = InvalidSpec
    return kind(message, code=code, reason=reason, violations=violations)


def _says(message, violation):
    return str(violation) in message or f"{violation.field} {violation.description}" in message


def _details(error):
    """Reason and violations of google.rpc.Status in the trailer."""
    reason, violations = "", []
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        for detail in api.message_class("google.rpc.Status").FromString(value).details:
            name = detail.type_url.rpartition("/")[2]
            if name == "google.rpc.ErrorInfo":
                reason = api.message_class(name).FromString(detail.value).reason
            elif name == "google.rpc.BadRequest":
                violations += [Violation(found.field, found.description) for found in
                               api.message_class(name).FromString(detail.value).field_violations]
    return reason, violations
