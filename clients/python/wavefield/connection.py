"""The channel to one coordinator: calls with deadlines, retries, the token, and typed errors."""

import contextlib
import ipaddress
import json
import pathlib

import grpc

from . import api, errors

MAX_MESSAGE_BYTES = 8 << 20

# What may be asked twice: reads, and changes that carry a request id.
_REPEATABLE = [
    {"service": found.containing_service.full_name, "method": found.name} for found in api.methods()
    if not found.client_streaming and not found.server_streaming and (
        found.name.startswith(("Get", "List", "Inspect", "Explain", "Diff"))
        or "request_id" in found.input_type.fields_by_name)]

_OPTIONS = [
    ("grpc.keepalive_time_ms", 20000),
    ("grpc.keepalive_timeout_ms", 10000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.service_config", json.dumps({"methodConfig": [{
        "name": _REPEATABLE,
        "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "2s",
                        "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]})),
]


class Connection:
    """Thread-safe. Methods are named as "JobService.GetJob"; requests are given by their fields."""

    def __init__(self, address, token, ca, timeout, client_certificate=None, client_key=None):
        self.address, self._timeout, self._closed = address, timeout, False
        if bool(client_certificate) != bool(client_key) or (client_certificate and not ca):
            raise errors.InvalidArgument("client_certificate, client_key and ca go together")
        if token and not ca and not _is_loopback(address):
            raise errors.InvalidArgument(
                f"the token would be sent in the clear to {address}; give the coordinator's certificate authority: "
                "ca=FILE")
        self._metadata = [("authorization", f"Bearer {token.strip()}")] if token else []
        if ca:
            credentials = grpc.ssl_channel_credentials(
                *(pathlib.Path(file).read_bytes() if file else None for file in (ca, client_key, client_certificate)))
            self._channel = grpc.secure_channel(address, credentials, options=_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(address, options=_OPTIONS)

    def close(self):
        self._closed = True
        self._channel.close()

    def unary(self, method, **fields):
        """The answer of a call that takes no longer than the client's timeout."""
        call, request = self._prepare(method, fields, self._channel.unary_unary)
        with self._typed_errors(method):
            return call(request, timeout=self._timeout, metadata=self._metadata)

    def pages(self, method, **fields):
        """All pages of a list."""
        token = ""
        while True:
            page = self.unary(method, page_token=token, **fields)
            yield page
            token = page.next_page_token
            if not token:
                return

    def stream(self, method, timeout=None, **fields):
        """The answers of a stream; it is cancelled where the iterator is closed."""
        call, request = self._prepare(method, fields, self._channel.unary_stream)
        with self._typed_errors(method):
            answers = call(request, timeout=timeout, metadata=self._metadata)
            try:
                yield from answers
            finally:
                answers.cancel()

    def exchange(self, method, requests, on_end):
        """The answers of a stream both ways; `requests` yields the fields of what is sent. on_end: called when it is
        over, whoever ended it."""
        service, name = method.split(".")
        message = api.message_class(api.method(service, name).input_type.full_name)
        call, _ = self._prepare(method, {}, self._channel.stream_stream)
        with self._typed_errors(method):
            answers = call((message(**fields) for fields in requests), metadata=self._metadata)
            answers.add_callback(on_end)
            try:
                yield from answers
            finally:
                answers.cancel()
                on_end()

    @contextlib.contextmanager
    def _typed_errors(self, method):
        try:
            yield
        except grpc.RpcError as error:
            if self._closed and error.code() == grpc.StatusCode.CANCELLED:
                raise _closed_error() from None
            raise errors.from_rpc(error, self.address, method) from None
        except ValueError:
            if self._closed:  # grpc's error for it
                raise _closed_error() from None
            raise

    @staticmethod
    def _prepare(method, fields, connect):
        service, name = method.split(".")
        found = api.method(service, name)
        call = connect(f"/{found.containing_service.full_name}/{name}",
                       request_serializer=lambda request: request.SerializeToString(),
                       response_deserializer=api.message_class(found.output_type.full_name).FromString)
        return call, api.message_class(found.input_type.full_name)(**fields)


def _closed_error():
    return errors.FailedPrecondition("the client is closed")


def _is_loopback(address):
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
