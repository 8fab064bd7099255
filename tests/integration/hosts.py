"""Two hosts on one machine: network namespaces where the kernel allows them, else addresses of the loopback range."""

import os
import subprocess
import sys

from cluster import wait_for

_INSIDE = "WAVEFIELD_TEST_NETWORK"


def enter_network(script):
    """Goes on, with `script`, in a network namespace of its own if that is allowed here: what is made there is gone at
    the end, and nothing of the machine's network is touched."""
    if _INSIDE in os.environ:
        return
    allowed = subprocess.run(["unshare", "-rn", "ip", "link", "add", "probe", "type", "bridge"],
                             capture_output=True, check=False).returncode == 0
    environment = dict(os.environ, **{_INSIDE: "namespaces" if allowed else "loopback"})
    print(f"hosts: {environment[_INSIDE]}", flush=True)
    command = [sys.executable, "-B", script, *sys.argv[1:]]
    if allowed:
        command = ["unshare", "-rn", *command]
    os.execvpe(command[0], command, environment)


def make_network(count):
    """The address of the coordinator's host, and `count` further Hosts."""
    if os.environ[_INSIDE] == "loopback":
        return "127.0.0.1", [Host(f"127.0.0.{2 + i}") for i in range(count)]
    gateway = "10.77.0.1"
    _ip("link", "set", "lo", "up")
    _ip("link", "add", "hosts", "type", "bridge")
    _ip("address", "add", f"{gateway}/24", "dev", "hosts")
    _ip("link", "set", "hosts", "up")
    return gateway, [NamespaceHost(f"10.77.0.{2 + i}", f"host{i}") for i in range(count)]


class Host:
    """Where programs run that have `address` to themselves. prefix: what goes before their command line."""

    prefix = ()

    def __init__(self, address):
        self.address = address

    def close(self):
        pass


class NamespaceHost(Host):

    def __init__(self, address, link):
        super().__init__(address)
        self._holder = subprocess.Popen(["unshare", "-n", "sleep", "infinity"])
        pid = str(self._holder.pid)
        own = os.readlink("/proc/self/ns/net")
        wait_for("the namespace", lambda: os.readlink(f"/proc/{pid}/ns/net") != own)
        self.prefix = ("nsenter", "--target", pid, "--net")
        _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", pid)
        _ip("link", "set", link, "master", "hosts", "up")
        for command in (["link", "set", "lo", "up"], ["address", "add", f"{address}/24", "dev", "eth0"],
                        ["link", "set", "eth0", "up"]):
            _ip(*command, prefix=self.prefix)

    def close(self):
        self._holder.kill()
        self._holder.wait()


def _ip(*arguments, prefix=()):
    subprocess.run([*prefix, "ip", *arguments], check=True)
