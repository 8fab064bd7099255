"""Messages as plain Python values, and lists of rows."""

from collections.abc import Sequence
from datetime import timezone


class Table(list):
    """Rows: a list of dicts with the same keys."""

    def to_pandas(self):
        """A pandas.DataFrame with a column for each key; needs pandas (pip install wavefield[pandas])."""
        import pandas

        return pandas.DataFrame(list(self))


def to_dict(message):
    """A message as a dict of plain values: numbers stay numbers, enums are their names, times are datetime in UTC,
    durations timedelta; messages and optional fields that are not set are left out."""
    values = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            values[field.name] = dict(value)
        elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            values[field.name] = [_plain(field, element) for element in value]
        elif not field.has_presence or message.HasField(field.name):
            values[field.name] = _plain(field, value)
    return values


def step_row(step):
    """The row of a StepMetrics; phases are columns, as `forward_seconds`."""
    row = to_dict(step)
    phases = row.pop("phase_seconds", {})
    names = [field.name for field in step.phase_seconds.DESCRIPTOR.fields]
    return row | {f"{name}_seconds": phases.get(name, 0.0) for name in names}


def evaluation_row(evaluation):
    """The row of an EvaluationResult; `ema_loss` is None where there is none."""
    row = to_dict(evaluation)
    return row | {"ema_loss": row.get("ema_loss")}


def _plain(field, value):
    if field.message_type is None:
        if field.enum_type is None:
            return value
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value
    name = field.message_type.full_name
    if name == "google.protobuf.Timestamp":
        return value.ToDatetime(tzinfo=timezone.utc)
    if name == "google.protobuf.Duration":
        return value.ToTimedelta()
    return to_dict(value)
