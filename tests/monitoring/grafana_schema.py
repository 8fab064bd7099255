"""Holds a dashboard's JSON against Grafana's schema, as the types of grafana-foundation-sdk state it.

The SDK's models are generated from the schema that Grafana publishes, but their `from_json` takes any value and
drops keys that it does not know. Here every key must be known, and every value of its type.
"""

import enum
import json
import types
import typing

from grafana_foundation_sdk.cog import plugins, variants
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

plugins.register_default_plugins()
_CONSTANTS = {"placement"}  # the SDK always has them, where Grafana does not need them


def _wrong_types(value, kind, where):
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in (object, typing.Any, variants.Dataquery):
        if isinstance(value, variants.Dataquery):
            yield from _wrong_types(value, type(value), where)
    elif origin in (typing.Union, types.UnionType):
        if value is not None or types.NoneType not in arguments:
            choices = [choice for choice in arguments if choice is not types.NoneType]
            fitting = [choice for choice in choices if isinstance(choice, type) and isinstance(value, choice)]
            yield from min((list(_wrong_types(value, choice, where)) for choice in fitting or choices), key=len)
    elif origin is list:
        if not isinstance(value, list):
            yield f"{where}: {value!r} is not a list"
        else:
            for index, item in enumerate(value):
                yield from _wrong_types(item, arguments[0], f"{where}[{index}]")
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is not an object"
        else:
            for key, item in value.items():
                yield from _wrong_types(item, arguments[1], f"{where}.{key}")
    elif origin is typing.Literal:
        if value not in arguments:
            yield f"{where}: {value!r} is none of {arguments}"
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        if value not in [member.value for member in kind]:
            yield f"{where}: {value!r} is none of {[member.value for member in kind]}"
    elif hasattr(kind, "from_json"):
        if isinstance(value, dict):  # the SDK leaves some parts as they were
            yield from _mistakes(value, kind, where)
        elif not isinstance(value, kind):
            yield f"{where}: {value!r} is not a {kind.__name__}"
        else:
            for name, member in typing.get_type_hints(kind).items():
                yield from _wrong_types(getattr(value, name), member, f"{where}.{name}")
            for part in ("options", "field_config"):  # typed as `object`: they belong to the panel's plugin
                if kind is dashboard.Panel:
                    plugin = getattr(value, part)
                    custom = plugin.defaults.custom if part == "field_config" and plugin else plugin
                    if hasattr(custom, "from_json"):
                        yield from _wrong_types(custom, type(custom), f"{where}.{part}")
    elif kind is float:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            yield f"{where}: {value!r} is not a number"
    elif not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        yield f"{where}: {value!r} is not {kind}"


def _unknown_keys(given, kept, where):
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key not in kept:
                yield f"{where}.{key} is unknown"
            else:
                yield from _unknown_keys(value, kept[key], f"{where}.{key}")
        yield from (f"{where}.{key} is missing" for key in kept if key not in given and key not in _CONSTANTS)
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for index, (one, other) in enumerate(zip(given, kept)):
            yield from _unknown_keys(one, other, f"{where}[{index}]")
    elif given != kept:
        yield f"{where}: {given!r} becomes {kept!r}"


def _mistakes(given, kind, where):
    parsed = kind.from_json(given)
    yield from _unknown_keys(given, json.loads(json.dumps(parsed, cls=JSONEncoder)), where)
    yield from _wrong_types(parsed, kind, where)


def mistakes(given):
    """What in a dashboard's JSON Grafana's schema does not allow, as text."""
    return list(_mistakes(given, dashboard.Dashboard, "dashboard"))
