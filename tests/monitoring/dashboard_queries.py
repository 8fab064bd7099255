"""The queries of the committed dashboards, with their variables filled in as Grafana would."""

import dataclasses
import json
import re

# What Grafana knows without asking: a scrape each second makes four seconds the shortest useful rate, and a busy
# machine misses some.
BUILT_IN = {"__rate_interval": "15s", "__interval": "1s", "__interval_ms": "1000"}


@dataclasses.dataclass(frozen=True)
class Query:
    dashboard: str
    panel_id: int
    panel: str
    expr: str


def panels_of(dashboard):
    for panel in dashboard["panels"]:
        yield from panel.get("panels", [])  # of a collapsed row
        if panel["type"] != "row":
            yield panel


class Dashboard:

    def __init__(self, path, prometheus, start, end, preferred):
        """preferred: variable → value of those that take one."""
        self.model = json.loads(path.read_text())
        self.title = self.model["title"]
        self.values = dict(BUILT_IN, __range=f"{round(end - start)}s", __range_s=str(round(end - start)))
        for variable in self.model["templating"]["list"]:
            if variable["type"] == "query":
                self.values[variable["name"]] = self._choose(variable, prometheus, start, end, preferred)

    def _choose(self, variable, prometheus, start, end, preferred):
        query = variable["query"]
        text = query if isinstance(query, str) else query["query"]
        match = re.fullmatch(r"label_values\((.+),\s*(\w+)\)", text)
        if not match:
            raise AssertionError(f"{self.title}: variable {variable['name']} has a query of another kind: {text}")
        found = prometheus.label_values(match.group(2), [self.fill(match.group(1))], start, end)
        if not found:
            raise AssertionError(f"{self.title}: variable {variable['name']} has no values: {text}")
        if variable.get("multi") or variable.get("includeAll"):
            return variable.get("allValue") or "(" + "|".join(map(re.escape, found)) + ")"
        wanted = preferred.get(variable["name"], found[0])
        if wanted not in found:
            raise AssertionError(f"{self.title}: variable {variable['name']} does not offer {wanted}: {found}")
        return wanted

    def fill(self, expr):
        def value(match):
            name = match.group(1) or match.group(2)
            if name not in self.values:
                raise AssertionError(f"{self.title}: no variable ${name}: {expr}")
            return self.values[name]
        return re.sub(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))", value, expr)

    def queries(self):
        for panel in panels_of(self.model):
            for target in panel.get("targets", []):
                yield Query(self.title, panel["id"], panel["title"], self.fill(target["expr"]))

    def annotations(self):
        for annotation in self.model.get("annotations", {}).get("list", []):
            expr = annotation.get("expr") or annotation.get("target", {}).get("expr")
            if expr:
                yield Query(self.title, 0, annotation["name"], self.fill(expr))
