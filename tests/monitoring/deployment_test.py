"""The scripts of deploy/ that watch a cluster; deploy/compose, deploy/images and deploy/prometheus, as far as it can
be told without a container engine."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import yaml

from ports import fixed_ports

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ["WAVEFIELD_BIN_DIR"])
TOOLS = pathlib.Path(sys.executable).parent
COMPOSE = ROOT / "deploy/compose/compose.yaml"
CONTAINERFILE = ROOT / "deploy/images/Containerfile"
# Where tests/run.sh unpacks what is not in PATH.
os.environ["PATH"] += f":{ROOT}/build/prometheus/usr/bin"


def run(*command):
    done = subprocess.run([*map(str, command)], text=True, capture_output=True)
    return done.returncode, done.stdout + done.stderr


class Deployment(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.compose = yaml.safe_load(COMPOSE.read_text())
        cls.services = cls.compose["services"]

    def assert_passes(self, *command):
        code, output = run(*command)
        self.assertEqual(code, 0, output)

    def test_the_recipe_of_the_images_passes_hadolint(self):
        self.assert_passes(TOOLS / "hadolint", "--failure-threshold", "style", CONTAINERFILE)

    def test_the_compose_file_follows_the_specification(self):
        self.assert_passes(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)

    def test_the_configurations_pass_their_own_checkers(self):
        with tempfile.TemporaryDirectory() as folder:
            etc = pathlib.Path(folder)
            (etc / "prometheus.yml").write_bytes((ROOT / "deploy/prometheus/prometheus.yml").read_bytes())
            (etc / "rules").symlink_to(ROOT / "dashboards/prometheus")
            (etc / "targets").symlink_to(ROOT / "deploy/compose/targets")
            self.assert_passes("promtool", "check", "config", etc / "prometheus.yml")
        self.assert_passes("amtool", "check-config", ROOT / "deploy/prometheus/alertmanager.yml")

    def test_what_is_mounted_is_there(self):
        mounts = [(name, volume.split(":")) for name, service in self.services.items()
                  for volume in service.get("volumes", [])]
        files = [(name, mount) for name, mount in mounts if mount[0].startswith(".")]
        self.assertGreater(len(files), 5)
        for name, mount in files:
            self.assertTrue((COMPOSE.parent / mount[0]).exists(), f"{name}: {mount[0]}")
            self.assertEqual(mount[2:], ["ro"], f"{name}: {mount}")
        self.assertEqual({mount[0] for _, mount in mounts} - {mount[0] for _, mount in files},
                         set(self.compose["volumes"]))

    def test_nothing_is_open_to_other_machines_or_privileged(self):
        for name, service in self.services.items():
            for port in service.get("ports", []):
                self.assertTrue(port.startswith("127.0.0.1:"), f"{name}: {port}")
            user = service["user"].split(":")[0]
            self.assertGreater(int(user), 0, name)
            self.assertEqual((service["read_only"], service["cap_drop"]), (True, ["ALL"]), name)

    def test_versions_are_pinned(self):
        for name, service in self.services.items():
            if "build" in service:
                self.assertRegex(CONTAINERFILE.read_text(), rf"(?m)^FROM \w+ AS {service['build']['target']}$")
            else:
                self.assertRegex(service["image"], r":v?\d+\.\d+\.\d+$", name)
        self.assertRegex(CONTAINERFILE.read_text(), r"(?m)^ARG DEBIAN=debian:bookworm-\d{8}-slim$")

    def test_grafana_finds_its_data_source_and_home(self):
        folder = COMPOSE.parent / "grafana"
        sources = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
        self.assertEqual([source["type"] for source in sources if source.get("isDefault")], ["prometheus"])
        grafana = self.services["grafana"]
        mounted = {target: source for source, target, *_ in (volume.split(":") for volume in grafana["volumes"])}
        provider = yaml.safe_load((folder / "dashboards/wavefield.yml").read_text())["providers"][0]
        dashboards = COMPOSE.parent / mounted[provider["options"]["path"]]
        home = pathlib.Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
        self.assertEqual(str(home.parent), provider["options"]["path"])
        self.assertIn("uid", json.loads((dashboards / home.name).read_text()))

    def test_the_runtime_image_has_the_libraries_that_programs_need(self):
        programs = [path for path in BIN.iterdir()
                    if re.fullmatch(r"wavefield(-(coordinator|worker|trainer|tokenizer|launcher))?", path.name)]
        self.assertEqual(len(programs), 6, programs)
        needed, packages = set(), set()
        for program in programs:
            paths = dict(re.findall(r"(\S+) => (/\S+)", run("ldd", program)[1]))
            names = re.findall(r"NEEDED +(\S+)", run("objdump", "-p", program)[1])
            # The loader itself has no arrow.
            needed |= {os.path.realpath(paths[name]) for name in names if not name.startswith("ld-linux")}
        for path in needed:
            # Some packages name what is in /usr/lib without the /usr.
            owners = run("dpkg", "-S", path, path.removeprefix("/usr"))[1]
            packages.add(re.search(r"^([^\s:]+)(:\w+)?: /", owners, re.M).group(1))
        installed = re.search(r"apt-get install(.*?)&&", CONTAINERFILE.read_text(), re.S).group(1).split()
        self.assertEqual(packages - set(installed) - {"libc6"}, set())

    def test_the_services_understand_each_other(self):
        """Their command lines, environments and health checks, outside of containers."""
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            here = {"/run/wavefield-keys": f"{folder}/keys", "/run/wavefield-client": f"{folder}/client",
                    "/var/lib/wavefield": f"{folder}/NAME", "/srv/wavefield": f"{folder}/storage",
                    "0.0.0.0:7070": "0.0.0.0:0", "0.0.0.0:7071": f"0.0.0.0:{fixed_ports(1)[0]}"}

            def moved(text, name):
                for old, new in here.items():
                    text = text.replace(old, new.replace("NAME", name))
                return text

            def start(name):
                stage = re.search(rf"FROM runtime AS {name}\nENV (.*)\n", CONTAINERFILE.read_text()).group(1)
                variables = dict(pair.split("=") for pair in stage.split()) | self.services[name].get("environment", {})
                environment = dict(os.environ, **{key: moved(value, name) for key, value in variables.items()})
                log = stack.enter_context(open(f"{folder}/{name}.log", "w"))
                process = stack.enter_context(subprocess.Popen(
                    [BIN / f"wavefield-{name}", *(moved(flag, name) for flag in self.services[name]["command"])],
                    env=environment, stdout=subprocess.PIPE, stderr=log, text=True))
                stack.callback(process.terminate)
                line = process.stdout.readline()
                self.assertTrue(line.startswith("ready "), pathlib.Path(log.name).read_text())
                return line.split()[1], environment

            def is_healthy(name, environment):
                *command, script = self.services[name]["healthcheck"]["test"][1:]
                return subprocess.run([*command, moved(script, name)], env=environment).returncode == 0

            for name in ("keys", "client", "storage", "coordinator", "worker"):
                os.mkdir(f"{folder}/{name}")
            self.assert_passes("bash", ROOT / "deploy/images/make-keys.sh",
                               *(moved(flag, "keys") for flag in self.services["keys"]["command"]))
            address, _ = start("coordinator")
            here["127.0.0.1/7071"] = "127.0.0.1/" + here["0.0.0.0:7071"].split(":")[1]
            here["coordinator:7070"] = "localhost:" + address.split(":")[1]
            self.assertTrue(is_healthy("coordinator", os.environ))
            _, environment = start("worker")
            environment["PATH"] = f"{BIN}:{environment['PATH']}"
            deadline = time.monotonic() + 30
            while not is_healthy("worker", environment):
                self.assertLess(time.monotonic(), deadline, "the worker does not get healthy")
                time.sleep(0.1)

    def test_clients_never_see_the_private_key(self):
        members = {volume: {name for name, service in self.services.items()
                            if any(mount.startswith(f"{volume}:") for mount in service.get("volumes", []))}
                   for volume in ("keys", "client")}
        self.assertEqual(members, {"keys": {"keys", "coordinator"}, "client": {"keys", "worker", "cli"}})

    def test_keys_are_made_once_and_for_their_owner_alone(self):
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as client:
            make = ("bash", ROOT / "deploy/images/make-keys.sh", folder, client, "coordinator")
            self.assert_passes(*make)
            names = ("cert.pem", "key.pem", "token")
            first = {name: (pathlib.Path(folder) / name).read_bytes() for name in names}
            self.assertRegex(first["token"].decode(), r"^[0-9a-f]{64}\n$")
            self.assertEqual({path.stat().st_mode & 0o077 for path in pathlib.Path(folder).iterdir()}, {0})
            self.assert_passes("openssl", "verify", "-CAfile", f"{folder}/cert.pem", "-verify_hostname",
                               "coordinator", f"{folder}/cert.pem")
            self.assert_passes(*make)
            self.assertEqual(first, {name: (pathlib.Path(folder) / name).read_bytes() for name in names})
            copied = {path.name: path.read_bytes() for path in pathlib.Path(client).iterdir()}
            self.assertEqual(copied, {name: first[name] for name in ("cert.pem", "token")})
            self.assertEqual({path.stat().st_mode & 0o077 for path in pathlib.Path(client).iterdir()}, {0})


class MonitorScript(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        prometheus, self.alertmanager = fixed_ports(2)
        self.command = ["bash", ROOT / "deploy/monitor.sh", "--data-dir", self.folder, "--prometheus-port",
                        str(prometheus), "--alertmanager-port", str(self.alertmanager)]

    def test_it_leaves_what_it_did_not_write_and_runs_once_in_a_folder(self):
        (self.folder / "etc").mkdir()
        (self.folder / "etc/fstab").write_text("mine")
        stale = self.folder / "wavefield-monitoring/etc/rules/old.yml"
        stale.parent.mkdir(parents=True)
        stale.write_text("groups: nonsense")
        with subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as first:
            try:
                line = first.stdout.readline()
                self.assertTrue(line.startswith("ready "), line)
                code, output = run(*self.command)
                self.assertEqual(code, 2, output)
                self.assertIn(f"another monitor.sh, or a server that it started, runs in {self.folder}", output)
            finally:
                first.send_signal(signal.SIGINT)
                first.communicate(timeout=30)
        self.assertEqual(first.returncode, 130)
        self.assertEqual((self.folder / "etc/fstab").read_text(), "mine")
        self.assertEqual({path.name for path in self.folder.iterdir()}, {"etc", "wavefield-monitoring"})
        self.assertFalse(stale.exists())

    def test_it_ends_where_a_listener_that_says_nothing_has_a_port(self):
        with socket.create_server(("127.0.0.1", self.alertmanager)):
            code, output = run("timeout", 30, *self.command)  # with what it started
        self.assertEqual(code, 1, output)
        self.assertIn("alertmanager ended", output)
        self.assertNotIn("ready http", output)


class UnpackScript(unittest.TestCase):
    """With an apt of the test's own, where no program that it looks for is in PATH."""

    APT = """#!/bin/bash
cd "$APT"
case $1 in
  update) touch updates/$RANDOM$RANDOM; touch "${KNOWS_AFTER_UPDATE:-/dev/null}" ;;
  download) [[ -e known ]] || { echo "E: No packages found" >&2; exit 100; }; cp *.deb "$OLDPWD" ;;
esac
"""

    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.apt, self.target = self.root / "apt", self.root / "build/prometheus"
        for folder in ("apt/updates", "bin", "deploy"):
            (self.root / folder).mkdir(parents=True)
        for program in "bash cat cp dirname dpkg-deb mkdir mktemp mv rm sed tar touch".split():
            (self.root / "bin" / program).symlink_to(shutil.which(program))
        self.write_program("apt-get", self.APT)
        self.write_program("sudo", '#!/bin/bash\nexec "$@"\n')
        shutil.copy(ROOT / "deploy/unpack-prometheus.sh", self.root / "deploy")
        for package, programs in {"prometheus": ("prometheus", "promtool"),
                                  "prometheus-alertmanager": ("prometheus-alertmanager", "amtool")}.items():
            source = self.root / "source" / package
            for folder in ("DEBIAN", "usr/bin"):
                (source / folder).mkdir(parents=True)
            (source / "DEBIAN/control").write_text(f"Package: {package}\nVersion: 1\nArchitecture: all\n"
                                                   "Maintainer: nobody <nobody@example.org>\nDescription: none\n")
            for program in programs:
                path = source / "usr/bin" / program
                path.write_text("/usr/share/prometheus/alertmanager")
                path.chmod(0o755)
            subprocess.run(["dpkg-deb", "--build", "--root-owner-group", source, self.apt / f"{package}_1_all.deb"],
                           check=True, capture_output=True)

    def write_program(self, name, text):
        path = self.root / "bin" / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def unpack(self, **environment):
        done = subprocess.run(["bash", self.root / "deploy/unpack-prometheus.sh"], text=True, capture_output=True,
                              env={"PATH": f"{self.root}/bin", "APT": str(self.apt), **environment})
        self.assertLessEqual({path.name for path in (self.root / "build").iterdir()}, {"prometheus"})
        return done.returncode, done.stdout + done.stderr

    def updates(self):
        return len(list((self.apt / "updates").iterdir()))

    def test_it_asks_apt_to_learn_of_the_packages_once(self):
        code, output = self.unpack()
        self.assertEqual((code, self.updates()), (1, 1), output)
        self.assertIn("apt-get download got no prometheus prometheus-alertmanager", output)
        code, output = self.unpack(KNOWS_AFTER_UPDATE=str(self.apt / "known"))
        self.assertEqual((code, self.updates()), (0, 2), output)
        self.assertEqual({path.name for path in (self.target / "usr/bin").iterdir()},
                         {"prometheus", "promtool", "prometheus-alertmanager", "amtool"})
        self.assertEqual(self.unpack(), (0, ""))

    def test_what_was_interrupted_is_not_taken_for_whole(self):
        (self.apt / "known").touch()
        self.write_program("sed", "#!/bin/bash\nkill -TERM $PPID\n")
        self.assertNotEqual(self.unpack()[0], 0)
        self.assertFalse(self.target.exists())
        (self.root / "bin/sed").unlink()
        (self.root / "bin/sed").symlink_to(shutil.which("sed"))
        self.assertEqual(self.unpack()[0], 0)
        self.assertEqual((self.target / "usr/bin/prometheus-alertmanager").read_text(), "./" + "/" * 32)


if __name__ == "__main__":
    unittest.main(verbosity=2)
