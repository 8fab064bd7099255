"""Job specifications from what Python has: dicts, JSON, presets, and single fields."""

import difflib
import json
import os
import reprlib
from collections.abc import Mapping

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from . import api
from .errors import InvalidArgument, InvalidSpec, Violation

_KINDS = {
    FieldDescriptor.CPPTYPE_INT32: "a whole number of 32 bits",
    FieldDescriptor.CPPTYPE_INT64: "a whole number of 64 bits",
    FieldDescriptor.CPPTYPE_UINT32: "a whole number of 32 bits, 0 or more",
    FieldDescriptor.CPPTYPE_UINT64: "a whole number of 64 bits, 0 or more",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_STRING: "text",
    FieldDescriptor.CPPTYPE_MESSAGE: "an object",
}


def build_spec(spec=None, fields=None):
    """A JobSpec of `spec` (a JobSpec, a dict, JSON, a path of a file of JSON, or the name of a preset) with `fields`
    set in it, by path: {"training.max_steps": 100, "training": {"batch_size": 8}, "labels.team": "a"}.

    Raises InvalidSpec with every key and value that does not fit."""
    message, violations = api.JobSpec(), []
    if isinstance(spec, api.JobSpec):
        message.CopyFrom(spec)
    elif isinstance(spec, str) and not spec.lstrip().startswith("{"):
        message.model.preset = spec
    elif spec is not None:
        _merge(message, _mapping(spec), "", violations, api.JobSpec)
    for path, value in (fields or {}).items():
        _set(message, path, value, violations)
    if violations:
        raise InvalidSpec(str(violations[0]) if len(violations) == 1 else "the job's specification does not fit",
                          violations=violations)
    return message


def build_dataset_options(options):
    """DatasetOptions of what `options` maps its fields to; InvalidArgument with every one that does not fit."""
    message, violations = api.message_class("wavefield.v1.DatasetOptions")(), []
    _merge(message, options, "options.", violations, type(message))
    if violations:
        raise InvalidArgument("; ".join(map(str, violations)), violations=violations)
    return message


def _mapping(spec):
    if isinstance(spec, os.PathLike):
        with open(spec, encoding="utf-8") as file:
            spec = file.read()
    if isinstance(spec, str):
        try:
            spec = json.loads(spec)
        except ValueError as error:
            raise InvalidSpec(f"the job's specification is not valid JSON: {error}") from error
    if not isinstance(spec, Mapping):
        raise InvalidSpec(f"a job's specification is an object, not {type(spec).__name__}")
    return spec


def _set(message, path, value, violations):
    prefix, keys = "", path.split(".")
    while len(keys) > 1 and (field := _find(message, keys[0])) is not None:
        if _is_map(field):
            if not isinstance(value, str):
                violations.append(Violation(path, f"{reprlib.repr(value)} is not text"))
                return
            getattr(message, field.name)[".".join(keys[1:])] = value
            return
        if not _is_group(field):
            violations.append(Violation(path, f"{field.name} has no fields"))
            return
        message = getattr(message, field.name)
        prefix += keys.pop(0) + "."
    _merge(message, {keys[0]: value}, prefix, violations, api.JobSpec)


def _merge(message, mapping, prefix, violations, root):
    """Sets what `mapping` has, with what `prefix` leads to in a `root`; the rest of `message` stays."""
    for key, value in mapping.items():
        field = _find(message, key)
        path = f"{prefix}{key}"
        if field is None:
            violations.append(Violation(path, "unknown key; " + _suggestion(message.DESCRIPTOR, str(key), root)))
        elif _is_group(field) and isinstance(value, Mapping):
            group = getattr(message, field.name)
            group.SetInParent()
            _merge(group, value, path + ".", violations, root)
        else:
            try:
                json_format.ParseDict({field.name: value}, message)
            except (json_format.ParseError, TypeError, ValueError) as error:
                violations.append(Violation(path, _misfit(field, value, error)))


def _misfit(field, value, error):
    if _is_map(field):
        return f"{reprlib.repr(value)} is not an object whose values are text"
    if field.default_value == []:  # a list
        return f"{reprlib.repr(value)} does not fit: " + str(error).rpartition(" field: ")[2]
    return f"{reprlib.repr(value)} is not {_KINDS[field.cpp_type]}"


def _find(message, key):
    for field in message.DESCRIPTOR.fields:
        if key in (field.name, field.json_name):
            return field
    return None


def _is_map(field):
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _is_group(field):
    return field.message_type is not None and field.has_presence


def _suggestion(descriptor, key, root):
    known = [field.name for field in descriptor.fields]
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    elsewhere = list(_paths(root.DESCRIPTOR, key))
    return f"did you mean '{elsewhere[0]}'?" if elsewhere else "known here: " + ", ".join(known)


def _paths(descriptor, key, prefix=""):
    for field in descriptor.fields:
        if field.name == key:
            yield prefix + key
        if _is_group(field):
            yield from _paths(field.message_type, key, f"{prefix}{field.name}.")
