"""Reads thresholds.toml, with its durations multiplied by a scale."""

import pathlib
import re
import tomllib
import types

_UNITS = {"s": 1, "m": 60, "h": 3600}
# Shorter ones hold too few samples even where a scrape takes place each second.
_SHORTEST_WINDOW_SECONDS = 4


class Duration(str):
    """A duration as PromQL writes it; `seconds` is the same as a number."""

    seconds: float

    def __new__(cls, seconds):
        text = f"{seconds:.0f}s" if seconds >= 1 or seconds == 0 else f"{seconds * 1000:.0f}ms"
        for unit, size in (("h", 3600), ("m", 60)):
            if seconds and seconds % size == 0:
                text = f"{seconds / size:.0f}{unit}"
                break
        duration = super().__new__(cls, text)
        duration.seconds = int(seconds) if seconds == int(seconds) else seconds
        return duration


def _scaled(name, value, scale):
    match = re.fullmatch(r"(\d+)([smh])", value) if isinstance(value, str) else None
    if match is None:
        return value
    seconds = int(match[1]) * _UNITS[match[2]]
    if scale != 1:
        shortest = 0 if name == "for" else _SHORTEST_WINDOW_SECONDS
        seconds = round(max(seconds * scale, min(seconds, shortest or 1)))
    return Duration(seconds)


def load(time_scale=1.0):
    """Alert or group → its thresholds as attributes; `for` is called `for_`."""
    text = (pathlib.Path(__file__).parent / "thresholds.toml").read_text()
    return {alert: types.SimpleNamespace(**{"for_" if name == "for" else name: _scaled(name, value, time_scale)
                                            for name, value in values.items()})
            for alert, values in tomllib.loads(text).items()}


THRESHOLDS = load()
