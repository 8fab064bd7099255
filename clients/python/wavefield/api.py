"""Every message and enum of wavefield.v1, made from the protos: `api.JobSpec`, `api.JobState`, …

They live in a descriptor pool of their own, so that they meet no other package's copy of a file."""

import sys
from importlib import resources

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper

PACKAGE = "wavefield.v1"

_pool = descriptor_pool.DescriptorPool()


def message_class(full_name):
    """The class of any message that the protos know, as "google.rpc.BadRequest"."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(full_name))


def method(service, name):
    """The descriptor of a method, as of "JobService" and "GetJob"."""
    return _pool.FindServiceByName(f"{PACKAGE}.{service}").methods_by_name[name]


def methods():
    """The descriptors of all methods."""
    return [found for service in _services for found in service.methods]


def _load():
    content = resources.files(__package__).joinpath("api.binpb").read_bytes()
    services, module = [], sys.modules[__name__]
    for file in descriptor_pb2.FileDescriptorSet.FromString(content).file:
        _pool.AddSerializedFile(file.SerializeToString())
        if file.package != PACKAGE:
            continue
        loaded = _pool.FindFileByName(file.name)
        services += loaded.services_by_name.values()
        for name, descriptor in loaded.message_types_by_name.items():
            setattr(module, name, message_factory.GetMessageClass(descriptor))
        for name, descriptor in loaded.enum_types_by_name.items():
            setattr(module, name, enum_type_wrapper.EnumTypeWrapper(descriptor))
    return services


_services = _load()
