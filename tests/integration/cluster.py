"""A real cluster for tests: the built programs, on free ports, in a temporary directory."""

import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

BIN = pathlib.Path(os.environ["WAVEFIELD_BIN_DIR"])
PAUSE = float(os.environ.get("WAVEFIELD_TEST_PAUSE", "0"))


def fresh_seed():
    seed = int(os.environ.get("WAVEFIELD_TEST_SEED", random.SystemRandom().randrange(2**32)))
    print(f"seed {seed} (repeat with WAVEFIELD_TEST_SEED)", flush=True)
    return seed


def write_text(path, kilobytes, seed):
    """English-like text with something to learn: words of a small random language."""
    rng = random.Random(seed)
    letters = "etaoinshrdlu"
    words = ["".join(rng.choice(letters) for _ in range(rng.randint(2, 7))) for _ in range(300)]
    successors = {word: [rng.choice(words) for _ in range(6)] for word in words}
    word, out, size = words[0], [], 0
    while size < kilobytes * 1024:
        line = []
        for _ in range(rng.randint(5, 12)):
            word = rng.choice(successors[word])
            line.append(word)
        out.append(" ".join(line) + ".\n")
        size += len(out[-1])
    pathlib.Path(path).write_text("".join(out))


def wait_for(what, condition, seconds=60.0):
    """Polls until `condition` returns something true, and returns it WAVEFIELD_TEST_PAUSE seconds later (default 0), as
    on a machine that is busy elsewhere."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            time.sleep(PAUSE)
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s still waiting for: {what}")
        time.sleep(0.05)


class Daemon:
    """One of the programs that announce themselves by a line `ready ADDRESS`."""

    def __init__(self, log, program, *arguments, prefix=()):
        self.log = pathlib.Path(log)
        with open(self.log, "ab") as stream:
            self.process = subprocess.Popen(
                [*prefix, BIN / program, *map(str, arguments)],
                stdout=subprocess.PIPE, stderr=stream, text=True, start_new_session=True)
        self.ready = self._await_ready(program)

    def _await_ready(self, program):
        for line in self.process.stdout:
            if line.startswith("ready "):
                return line.split()[1]
        code = self.process.wait()
        self.process.stdout.close()
        raise AssertionError(f"{program} ended with {code}:\n{self.log.read_text()[-4000:]}")

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.stdout.close()
        return self.process.wait(timeout=30)


class ClusterTest(unittest.TestCase):
    """A coordinator and a worker with two slots; started anew for each test class."""

    slots = 2
    coordinator_flags = ()

    @classmethod
    def setUpClass(cls):
        cls.seed = fresh_seed()
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="wavefield-test-"))
        cls.coordinator = cls.worker = None
        cls.addClassCleanup(cls._clean_up)
        cls.make_storage(cls.directory / "storage")
        cls.start_coordinator("127.0.0.1:0")
        cls.start_worker()

    @classmethod
    def make_storage(cls, path):
        """Where a test wants another kind of storage."""
        path.mkdir()

    @classmethod
    def _clean_up(cls):
        for daemon in (cls.worker, cls.coordinator):
            if daemon and daemon.process.poll() is None:
                daemon.kill(signal.SIGTERM)
        shutil.rmtree(cls.directory, ignore_errors=True)

    @classmethod
    def start_coordinator(cls, listen):
        cls.coordinator = Daemon(
            cls.directory / "coordinator.log", "wavefield-coordinator",
            "--data-dir", cls.directory / "coordinator", "--storage-root", cls.directory / "storage",
            "--listen", listen, "--http-listen", "127.0.0.1:0", *cls.coordinator_flags)
        cls.address = cls.coordinator.ready

    @classmethod
    def start_worker(cls):
        cls.worker = Daemon(
            cls.directory / "worker.log", "wavefield-worker",
            "--coordinator", cls.address, "--data-dir", cls.directory / "worker",
            "--storage-root", cls.directory / "storage", "--slots", cls.slots, "--name", "w1")

    @classmethod
    def run_cli(cls, *arguments, check=True, address=None):
        environment = dict(os.environ, WAVEFIELD_ADDRESS=address or cls.address)
        done = subprocess.run([BIN / "wavefield", *map(str, arguments)], env=environment,
                              capture_output=True, text=True, timeout=300)
        if check and done.returncode != 0:
            raise AssertionError(f"wavefield {' '.join(map(str, arguments))}: exit {done.returncode}\n"
                                 f"{done.stdout}\n{done.stderr}\n{cls.logs()}")
        return done

    @classmethod
    def cli_json(cls, *arguments):
        return json.loads(cls.run_cli(*arguments, "--json").stdout)

    @classmethod
    def logs(cls):
        # Folders of tasks come and go meanwhile: os.walk passes over them.
        paths = [pathlib.Path(folder) / name for folder, _, names in os.walk(cls.directory)
                 for name in names if name.endswith(".log")]
        texts = []
        for path in sorted(paths):
            try:
                texts.append(f"--- {path.relative_to(cls.directory)}\n{path.read_text()[-3000:]}")
            except FileNotFoundError:
                continue
        return "\n".join(texts)

    @classmethod
    def prepare(cls, name, kilobytes=200, *flags):
        text = cls.directory / f"{name}.txt"
        write_text(text, kilobytes, cls.seed)
        return cls.run_cli("data", "prepare", "--name", name, "--input", text, "--vocab-size", 400, *flags)

    @classmethod
    def submit(cls, name, *flags, **settings):
        """flags: further ones of the command. settings: field path with __ for dots."""
        sets = []
        for field, value in settings.items():
            sets += ["--set", f"{field.replace('__', '.')}={value}"]
        return cls.run_cli("submit", "--name", name, "--preset", "wave-field-test", *sets, *flags)

    @classmethod
    def job(cls, name):
        return cls.cli_json("job", name)

    @classmethod
    def wait_for_end(cls, name, seconds=120):
        def ended():
            job = cls.job(name)
            return job if re.search("SUCCEEDED|FAILED|CANCELLED", job["state"]) else None
        return wait_for(f"the end of {name}", ended, seconds)

    @classmethod
    def last_step(cls, name):
        return int((cls.job(name).get("last_step") or {}).get("step", 0))

    @classmethod
    def checkpoint_files(cls, name, step):
        """Bytes of every tensor file of a checkpoint, by name."""
        found = sorted((cls.directory / "storage").glob(f"**/{name}/**/{step:012d}-*/*.safetensors"))
        return {path.name: path.read_bytes() for path in found}


def processes_mentioning(text):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(text) in command:
                found.append(f"{entry.name} {command}")
    return found


def trainer_pids(job):
    """rank → pid of the trainers of a job, by their task files."""
    pids = {}
    for line in processes_mentioning("wavefield-trainer"):
        pid, command = line.split(" ", 1)
        match = re.search(r"--task (\S+)", command)
        if not match:
            continue
        try:
            train = json.loads(pathlib.Path(match.group(1)).read_text()).get("train", {})
        except (OSError, ValueError):
            continue
        if train.get("job") == f"jobs/{job}":
            pids[int(train["rank"])] = int(pid)
    return pids
