"""What people look at: report, plot and CSV of a real run, the report as a browser shows it."""

import collections
import csv
import html.parser
import io
import math
import os
import re
import struct
import subprocess
import unittest
import xml.etree.ElementTree
import zlib

import numpy

from cluster import BIN, ClusterTest

SCREENSHOTS = BIN.parent / "screenshots"
PHASES = ["data", "forward", "backward", "communicate", "optimize", "checkpoint"]


class Page(html.parser.HTMLParser):
    """Of a page: tables and definition lists by id, figures by id with the names of their curves."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.fields, self.curves = {}, {}, collections.defaultdict(list)
        self.scripts, self.text = 0, []
        self.table = self.figure = self.name = None
        self.collecting, self.in_series = None, False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "script":
            self.scripts += 1
        elif tag == "table":
            self.table = self.tables.setdefault(attributes["id"], [])
        elif tag == "tr" and self.table is not None:
            self.table.append([])
        elif tag == "figure":
            self.figure = attributes["id"]
        elif tag == "path":
            self.in_series = attributes.get("class") == "series"
            if self.in_series:
                assert attributes["d"].startswith("M"), attributes["d"]
        elif tag == "circle":
            self.in_series = False
        if tag in ("td", "th", "dt", "dd", "title"):
            self.collecting = []

    def handle_data(self, data):
        self.text.append(data)
        if self.collecting is not None:
            self.collecting.append(data)

    def handle_endtag(self, tag):
        if self.collecting is None or tag not in ("td", "th", "dt", "dd", "title"):
            return
        text, self.collecting = "".join(self.collecting), None
        if tag in ("td", "th"):
            self.table[-1].append(text)
        elif tag == "dt":
            self.name = text
        elif tag == "dd":
            self.fields[self.name] = text
        elif self.figure and self.in_series:
            self.curves[self.figure].append(text)

    def rows(self, table):
        head, *rows = self.tables[table]
        return [dict(zip(head, row)) for row in rows]


def chromium(*arguments, profile):
    # Without a name server or a proxy: what the page does not hold itself cannot be shown.
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND",
               f"--user-data-dir={profile}", *arguments]
    environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)


def read_png(path):
    """Pixels of an 8-bit RGB or RGBA PNG, [height, width, channels]."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    offset, packed = 8, b""
    while offset < len(data):
        length, kind = struct.unpack(">I4s", data[offset:offset + 8])
        body = data[offset + 8:offset + 8 + length]
        if kind == b"IHDR":
            width, height, depth, color = struct.unpack(">IIBB", body[:10])
            assert depth == 8 and color in (2, 6)
        elif kind == b"IDAT":
            packed += body
        offset += 12 + length
    channels = {2: 3, 6: 4}[color]
    rows = numpy.frombuffer(zlib.decompress(packed), numpy.uint8).reshape(height, 1 + width * channels)
    pixels = numpy.zeros((height, width, channels), numpy.uint8)
    above = numpy.zeros((width, channels), numpy.int64)
    for y in range(height):
        line = rows[y, 1:].reshape(width, channels).astype(numpy.int64)
        kind = rows[y, 0]
        if kind == 1:
            line = numpy.cumsum(line, axis=0) % 256
        elif kind == 2:
            line = (line + above) % 256
        elif kind in (3, 4):
            line = undo_neighbours(line.tolist(), above.tolist(), kind)
        above = line
        pixels[y] = line
    return pixels


def undo_neighbours(line, above, kind):
    """PNG's filters 3 (average) and 4 (Paeth)."""
    channels = len(line[0])
    left, corner = [0] * channels, [0] * channels
    for x, pixel in enumerate(line):
        for c in range(channels):
            a, b, d = left[c], above[x][c], corner[c]
            if kind == 3:
                guess = (a + b) // 2
            else:
                estimate = a + b - d
                distances = abs(estimate - a), abs(estimate - b), abs(estimate - d)
                guess = (a, b, d)[distances.index(min(distances))]
            pixel[c] = (pixel[c] + guess) % 256
        left, corner = pixel, above[x]
    return numpy.array(line, numpy.int64)


def colours(path):
    """How often each colour occurs in a picture."""
    pixels = read_png(path)[:, :, :3].reshape(-1, 3).astype(numpy.int64)
    values, counts = numpy.unique(pixels @ numpy.array([65536, 256, 1]), return_counts=True)
    return dict(zip(values.tolist(), counts.tolist()))


def curve_values(svg):
    """Points of each curve of a file that `plot` wrote, read back by the labels of its axes."""
    root = xml.etree.ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    texts = [(float(t.get("x")), float(t.get("y")), t.get("text-anchor"), t.text)
             for t in root.iter(space + "text")]
    number = re.compile(r"-?[0-9.]+(e-?[0-9]+)?$")
    y_ticks = [(y - 4, float(text)) for _, y, anchor, text in texts if anchor == "end" and number.match(text)]
    x_ticks = [(x, float(text)) for x, _, anchor, text in texts if anchor == "middle" and number.match(text)]
    to_x, to_y = (numpy.polyfit(*zip(*ticks), 1) for ticks in (x_ticks, y_ticks))
    curves = {}
    for path in root.iter(space + "path"):
        if path.get("class") == "series":
            points = [tuple(map(float, point.split())) for point in re.findall(r"[ML]([-0-9. ]+)", path.get("d"))]
            curves[path.find(space + "title").text] = [
                (numpy.polyval(to_x, x), numpy.polyval(to_y, y)) for x, y in points]
    return curves


class Report(ClusterTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prepare("words")
        for name, seed in (("first", 1), ("second", 2)):
            cls.submit(name, dataset="words", resources__world_size=2, training__max_steps=40,
                       training__sequence_length=64, training__batch_size=8, training__seed=seed,
                       evaluation__every_steps=20, checkpoint__every_steps=20, labels__kind="short")
            cls.wait_for_end(name)
        cls.report = cls.directory / "report.html"
        cls.run_cli("report", "first", "-o", cls.report)
        cls.text = cls.report.read_text()
        cls.page = Page(chromium("--dump-dom", cls.report.as_uri(), profile=cls.directory / "profile").stdout)
        cls.metrics = cls.cli_json("metrics", "first")
        SCREENSHOTS.mkdir(exist_ok=True)

    def test_the_file_holds_everything_itself(self):
        self.assertLess(len(self.text), 300_000)
        for reference in ("http:", "https:", "//", "src=", "href=", "<script"):
            self.assertNotIn(reference, self.text)
        self.assertEqual(self.page.scripts, 0)

    def test_the_browser_shows_the_figures_of_the_command_line(self):
        job, fields = self.job("first"), self.page.fields
        last, evaluation = job["last_step"], job["last_evaluation"]
        self.assertEqual(fields["parameters"], f"{int(job['parameter_count']):,}")
        self.assertEqual(fields["steps"], "40 of 40")
        self.assertEqual(fields["tokens"], f"{int(last['total_tokens']):,}")
        self.assertEqual(fields["training loss"], f"{last['loss']:.4f}")
        self.assertEqual(fields["held-out loss"], f"{evaluation['loss']:.4f}")
        self.assertEqual(fields["held-out bits per byte"], f"{evaluation['bits_per_byte']:.4f}")
        self.assertEqual(fields["content hash"], self.cli_json("data", "show", "words")["dataset"]["content_hash"])
        settings = {row["setting"]: row["value"] for row in self.page.rows("settings")}
        self.assertEqual(settings["training.seed"], "1")
        self.assertEqual(settings["labels.kind"], "short")
        self.assertEqual([row["loss"] for row in self.page.rows("evaluation-results")],
                         [f"{e['loss']:.4f}" for e in self.metrics["evaluations"]])
        self.assertEqual([row["checkpoint"] for row in self.page.rows("checkpoint-list")],
                         ["first@40-1", "first@20-1"])
        self.assertEqual([(row["attempt"], row["first step"], row["last step"]) for row in self.page.rows("attempts")],
                         [("1", "1", "40")])
        self.assertEqual([row["worker"] for row in self.page.rows("workers")], ["w1"])
        health = self.cli_json("metrics", "first", "--health")["points"][0]
        self.assertEqual(len(self.page.rows("health-layers")), len(health["layers"]))
        self.assertEqual(len(self.page.rows("health-heads")), sum(len(layer["heads"]) for layer in health["layers"]))

    def test_the_ledger_is_the_jobs(self):
        goodput = self.job("first").get("goodput") or {"total": "0"}
        shown = self.page.rows("goodput-ledger") if "goodput-ledger" in self.page.tables else []
        found = {row["where slot-time went"].replace(" ", "_"): int(row["milliseconds"].replace(",", ""))
                 for row in shown}
        self.assertEqual(found, {key: int(value) for key, value in goodput.items()} if int(goodput["total"]) else {})
        total = found.pop("total", 0)
        self.assertEqual(sum(found.values()), total)

    def test_the_curves_are_drawn(self):
        self.assertEqual(dict(self.page.curves), {
            "chart-loss": ["training", "held out"],
            "chart-accuracy": ["training", "held out"],
            "chart-bits-per-byte": ["held out"],
            "chart-speed": ["all ranks"],
            "chart-grad-norm": ["norm"],
            "chart-learning-rate": ["rate"],
            "chart-rank-skew": ["skew"],
            "chart-phases": PHASES})

    def test_a_browser_paints_the_report(self):
        picture = SCREENSHOTS / "report.png"
        chromium(f"--screenshot={picture}", "--window-size=1200,3600", self.report.as_uri(),
                 profile=self.directory / "profile")
        found = colours(picture)
        print(f"{picture}: {len(found)} colours", flush=True)
        self.assertGreater(len(found), 50)
        self.assertLess(max(found.values()), 0.98 * sum(found.values()))
        for name, colour in (("training curve", 0x0072B2), ("held-out curve", 0xD55E00)):
            self.assertGreater(found.get(colour, 0), 30, name)

    def test_a_plot_has_the_steps_of_each_job(self):
        path = self.directory / "loss.svg"
        self.run_cli("plot", "first", "second", "-o", path)
        curves = curve_values(path.read_text())
        self.assertEqual(list(curves), ["first", "second"])
        for name, points in curves.items():
            steps = self.cli_json("metrics", name)["steps"]
            self.assertEqual(len(points), len(steps))
            for (x, y), step in zip(points, steps):
                self.assertAlmostEqual(x, int(step["step"]), delta=0.05)
                self.assertAlmostEqual(y, step["loss"], delta=0.01)
        picture = SCREENSHOTS / "plot.png"
        chromium(f"--screenshot={picture}", "--window-size=760,400", path.as_uri(),
                 profile=self.directory / "profile")
        found = colours(picture)
        self.assertEqual(max(found, key=found.get), 0xFFFFFF)
        for colour in (0x0072B2, 0xD55E00):
            self.assertGreater(found.get(colour, 0), 30)

    def test_csv_says_what_json_says(self):
        def number(value):
            return math.nan if value == "NaN" else float(value)

        rows = list(csv.DictReader(io.StringIO(self.run_cli("metrics", "first", "--csv").stdout, newline="")))
        self.assertEqual(len(rows), 40)
        for row, step in zip(rows, self.metrics["steps"]):
            flat = {**step, **{f"{phase}_seconds": step["phase_seconds"][phase] for phase in PHASES}}
            del flat["phase_seconds"], flat["time"]
            self.assertEqual({key: number(value) for key, value in row.items() if key != "time"},
                             {key: number(value) for key, value in flat.items()})
            self.assertEqual(row["time"][:19], step["time"][:19])
        done = self.run_cli("metrics", "first", "--evaluations", "--csv").stdout
        evaluations = list(csv.DictReader(io.StringIO(done, newline="")))
        self.assertEqual([number(row["loss"]) for row in evaluations],
                         [evaluation["loss"] for evaluation in self.metrics["evaluations"]])

    def test_watch_prints_lines_into_a_pipe(self):
        done = self.run_cli("watch", "first", "--history")
        self.assertIn("first SUCCEEDED", done.stdout)
        self.assertNotIn("\x1b", done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
