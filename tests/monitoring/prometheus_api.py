"""What the tests ask of Prometheus, and the configuration that makes it quick."""

import json
import math
import pathlib
import re
import urllib.error
import urllib.parse
import urllib.request

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def scaled(text, scale):
    """A configuration whose times are shorter by `scale`, though none shorter than a second."""
    def shorter(match):
        seconds = int(match.group(2)) * UNITS[match.group(3)] / scale
        return f"{match.group(1)}{max(1, round(seconds))}s"
    return re.sub(r"(\b(?:interval|timeout|wait|\w+_interval|\w+_timeout|\w+_wait): )(\d+)(ms|[smhd])\b", shorter, text)


def get_text(url, timeout=10):
    # Not through a proxy of the environment.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout) as answer:
        return answer.read().decode()


class Prometheus:

    def __init__(self, url):
        self.url = url

    def get(self, path, **parameters):
        pairs = [(name, value) for name, values in parameters.items()
                 for value in (values if isinstance(values, list) else [values])]
        try:
            answer = json.loads(get_text(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(pairs)}", 30))
        except urllib.error.HTTPError as refusal:
            raise ValueError(refusal.read().decode()) from None
        return answer["data"]

    def now(self, expr):
        """The value of the first series; None: no series."""
        result = self.get("query", query=expr)["result"]
        return float(result[0]["value"][1]) if result else None

    def finite_samples(self, expr, start, end):
        """How many samples that are numbers the expression has in that time. ValueError: it does not parse."""
        result = self.get("query_range", query=expr, start=start, end=end, step=1)["result"]
        return sum(math.isfinite(float(value)) for series in result for _, value in series["values"])

    def label_values(self, label, selectors, start, end):
        return self.get(f"label/{label}/values", **{"match[]": selectors, "start": start, "end": end})

    def rules(self, kind):
        """kind: alerting or recording."""
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"] if rule["type"] == kind]


def write_configuration(source, target, scale, webhook):
    """deploy/prometheus, quicker, and with a receiver."""
    target = pathlib.Path(target)
    target.mkdir()
    for name in ("prometheus.yml", "alertmanager.yml"):
        text = scaled((pathlib.Path(source) / name).read_text(), scale)
        if name == "alertmanager.yml":
            nowhere = "    webhook_configs: []"
            if text.count(nowhere) != 1:
                raise AssertionError(f"{source}/{name} has no receiver without a place to send to")
            text = text.replace(nowhere, f'    webhook_configs: [{{url: "{webhook}", send_resolved: true}}]')
        (target / name).write_text(text)
