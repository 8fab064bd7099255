"""The layer between the dashboards' definitions and Grafana: what a panel is, and how all of them look."""

import dataclasses

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, statetimeline
from grafana_foundation_sdk.builders import table as table_panel
from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus as prometheus_model

from thresholds import THRESHOLDS

DATASOURCE = common_model.DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "wavefield"
JOB = 'training_job=~"$training_job"'
WORKER = 'worker=~"$worker"'
GOODPUT = (f"Share of the slot-time of the last {THRESHOLDS['recorded'].goodput} that went into steps done for the"
           " first time.")


@dataclasses.dataclass(frozen=True)
class Query:
    expr: str
    legend: str = ""
    needs: str = ""  # what must be there for it to have data: see NEEDS
    unit: str = ""  # of its column, in a table


# What a query may need beyond a running cluster with a running job of a field model.
NEEDS = {"gpu": "a worker with an NVIDIA GPU",
         "ema": "a job that keeps a moving average of its weights"}


@dataclasses.dataclass(frozen=True)
class Panel:
    kind: str
    title: str
    unit: str
    queries: tuple[Query, ...]
    description: str
    width: int
    height: int
    thresholds: tuple[tuple[float, str], ...] = ()
    stack: bool = False
    log: bool = False
    show_name: bool = False  # of a stat: its series' name in place of the value
    maximum: float | None = None
    key: str = ""  # of a table: the label that its rows share


@dataclasses.dataclass(frozen=True)
class Dashboard:
    uid: str
    title: str
    description: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]
    jobs: str = ""  # "", "one" or "many": how many the variable $training_job takes
    workers: bool = False  # has the variable $worker

    def panels(self):
        return [panel for _, panels in self.rows for panel in panels]


def _queries(expr, legend, needs):
    if isinstance(expr, str):
        return (Query(expr, legend, needs),)
    return tuple(dataclasses.replace(query, needs=query.needs or needs) for query in expr)


def graph(title, unit, expr, legend="", *, description, width=8, height=8, needs="", **options):
    """Lines over time. `expr`: PromQL, or Query objects where there are several."""
    return Panel("timeseries", title, unit, _queries(expr, legend, needs), description, width, height,
                 **options)


def number(title, unit, expr, legend="", *, description, width=4, height=4, needs="", **options):
    """The last value, large, over a faint line."""
    return Panel("stat", title, unit, _queries(expr, legend, needs), description, width, height, **options)


def bars(title, unit, expr, legend, *, description, width=8, height=8, needs="", **options):
    """The last value of each series as a bar."""
    return Panel("bargauge", title, unit, _queries(expr, legend, needs), description, width, height,
                 **options)


def timeline(title, expr, legend, *, description, width=24, height=6, needs="", **options):
    """A band for each series while it has a value."""
    return Panel("state-timeline", title, "none", _queries(expr, legend, needs), description, width, height,
                 **options)


def table(title, key, columns, *, description, width=24, height=9, needs=""):
    """A row for each value of the label `key`; a column for each query, named by its legend.

    A query without a legend adds its labels as columns in place of its value.
    """
    return Panel("table", title, "none", _queries(columns, "", needs), description, width, height, key=key)


def red_below(red, yellow):
    return ((float("-inf"), "red"), (red, "yellow"), (yellow, "green"))


def red_above(yellow, red):
    return ((float("-inf"), "green"), (yellow, "yellow"), (red, "red"))


_PANELS = {"timeseries": timeseries.Panel, "stat": stat.Panel, "bargauge": bargauge.Panel,
           "state-timeline": statetimeline.Panel, "table": table_panel.Panel}


def ref_id(index):
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[index]


def _panel(panel, id_val):
    built = (_PANELS[panel.kind]().id(id_val).title(panel.title).description(panel.description)
             .unit(panel.unit).span(panel.width).height(panel.height).datasource(DATASOURCE))
    for index, query in enumerate(panel.queries):
        target = (prometheus.Dataquery().expr(query.expr).legend_format(query.legend)
                  .ref_id(ref_id(index)).datasource(DATASOURCE))
        if panel.kind == "table":
            target.instant().format(prometheus_model.PromQueryFormat.TABLE)
        elif panel.show_name or panel.kind == "bargauge":  # series that have ended must not be shown
            target.instant()
        else:
            target.range()
        built.with_target(target)
    steps = [model.Threshold(value=None if value == float("-inf") else value, color=color)
             for value, color in panel.thresholds or ((float("-inf"), "green"),)]
    built.thresholds(dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
    if panel.maximum is not None:
        built.min(0).max(panel.maximum)
    built.color_scheme(dashboard.FieldColor().mode(
        model.FieldColorModeId.PALETTE_CLASSIC if panel.kind == "timeseries"
        else model.FieldColorModeId.THRESHOLDS))
    _STYLES[panel.kind](built, panel)
    if any("{{training_job}}" in query.legend for query in panel.queries):
        built.data_links([_job_link("${__field.labels.training_job}")])
    return built


def _job_link(name):
    return (dashboard.DashboardLink(f"Open {name}").type(model.DashboardLinkType.LINK)
            .url(f"/d/wavefield-job?var-training_job={name}&var-datasource=${{datasource}}&${{__url_time_range}}"))


def _style_timeseries(built, panel):
    built.show_points(common_model.VisibilityMode.NEVER).line_width(1).fill_opacity(40 if panel.stack else 8)
    built.legend(common.VizLegendOptions().display_mode(common_model.LegendDisplayMode.TABLE)
                 .placement(common_model.LegendPlacement.BOTTOM).show_legend(True)
                 .calcs(["lastNotNull", "max"]))
    built.tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI)
                  .sort(common_model.SortOrder.DESCENDING))
    if panel.stack:
        built.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL).group("A"))
    if panel.log:
        built.scale_distribution(
            common.ScaleDistributionConfig().type(common_model.ScaleDistribution.LOG).log(10))
    if panel.thresholds:
        built.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(common_model.GraphThresholdsStyleMode.DASHED))


def _last():
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _style_stat(built, panel):
    built.reduce_options(_last()).graph_mode(
        common_model.BigValueGraphMode.NONE if panel.show_name else common_model.BigValueGraphMode.AREA)
    built.color_mode(common_model.BigValueColorMode.VALUE)
    if panel.show_name:
        built.text_mode(common_model.BigValueTextMode.NAME)


def _style_bargauge(built, panel):
    built.reduce_options(_last()).orientation(common_model.VizOrientation.HORIZONTAL)
    built.display_mode(common_model.BarGaugeDisplayMode.BASIC)


def _style_timeline(built, panel):
    built.show_value(common_model.VisibilityMode.NEVER).row_height(0.8)


def _style_table(built, panel):
    names = {f"Value #{ref_id(index)}": query.legend for index, query in enumerate(panel.queries)}
    if len(panel.queries) == 1:
        names = {"Value": panel.queries[0].legend}
    built.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    built.with_transformation(model.DataTransformerConfig(id_val="organize", options={
        "excludeByName": {"Time": True} | {column: True for column, name in names.items() if not name},
        "indexByName": {panel.key: 0},
        "renameByName": {column: name for column, name in names.items() if name}}))
    for query in panel.queries:
        if query.unit:
            built.override_by_name(query.legend, [model.DynamicConfigValue("unit", query.unit)])
    if panel.key == "training_job":
        built.override_by_name(panel.key, [
            model.DynamicConfigValue("links", [_job_link("${__value.text}").build()])])


_STYLES = {"timeseries": _style_timeseries, "stat": _style_stat, "bargauge": _style_bargauge,
           "state-timeline": _style_timeline, "table": _style_table}


def _variable(name, label, metric, many):
    variable = (dashboard.QueryVariable(name).label(label).datasource(DATASOURCE)
                .query(f"label_values({metric}, {name})").sort(model.VariableSort.ALPHABETICAL_ASC)
                .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).multi(many).include_all(many)
                # A link from a dashboard where all are chosen must not stand as the name of one.
                .allow_custom_value(many))
    return variable.all_value(".+") if many else variable


# Name, color, PromQL and text of the marks on the dashboards of jobs. Grafana asks once a minute of time.
ANNOTATIONS = (
    ("Restarts", "red", f"changes(wavefield_training_attempts_total{{{JOB}}}[1m]) > 0",
     "{{training_job}} began another attempt"),
    ("Checkpoints", "blue", f"changes(wavefield_training_checkpoint_step{{{JOB}}}[1m]) > 0",
     "{{training_job}} committed a checkpoint"),
)


def build(spec):
    """The dashboard as Grafana's model."""
    built = (dashboard.Dashboard(spec.title).uid(spec.uid).description(spec.description).tags([TAG])
             .editable().timezone("browser").time("now-6h", "now").refresh("30s")
             .tooltip(model.DashboardCursorSync.CROSSHAIR))
    built.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    if spec.jobs:
        built.with_variable(_variable("training_job", "Job", "wavefield_training_info", spec.jobs == "many"))
        for name, color, expr, text in ANNOTATIONS:
            built.annotation(dashboard.AnnotationQuery().name(name).datasource(DATASOURCE).enable(True)
                             .icon_color(color).expr(expr).step("60s").title_format(name)
                             .text_format(text).tag_keys("training_job"))
    if spec.workers:
        built.with_variable(_variable("worker", "Worker", "wavefield_worker_up", True))
    built.link(dashboard.DashboardLink("Dashboards").type(model.DashboardLinkType.DASHBOARDS).tags([TAG])
               .include_vars(True).keep_time(True))
    id_val = 0
    for row, panels in spec.rows:
        id_val += 1
        built.with_row(dashboard.Row(row).id(id_val))
        for panel in panels:
            id_val += 1
            built.with_panel(_panel(panel, id_val))
    result = built.build()
    # The SDK would hide them in a menu.
    for shown in result.links + (result.annotations.list_val if spec.jobs else []):
        shown.placement = None
    return result
