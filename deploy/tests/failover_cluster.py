"""Postgres with pg_auto_failover on one machine: a monitor, a primary, its standbys. Every node is a real one, with
fsync, on a port of its own; nobody but this script knows them."""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import time

# The extension's own defaults (20 s until a silent node counts as gone, 30 s for it to notice that itself) take up to
# a minute together. These are for nodes in one data centre.
MONITOR = {
    "pgautofailover.health_check_period": "1s",
    "pgautofailover.health_check_timeout": "2s",
    "pgautofailover.health_check_retry_delay": "500ms",
    "pgautofailover.node_considered_unhealthy_timeout": "5s",
    "pgautofailover.primary_demote_timeout": "8s",
}
# A primary that neither the monitor nor a standby reaches stops itself after so many seconds: less than the time
# behind which another takes its place.
PARTITION_TIMEOUT = 6


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def install():
    """Debian's packages, those for the Postgres that is there; gives the folder of its programs."""
    folders = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    version = folders[-1].parts[-3] if folders else "15"
    programs = pathlib.Path(f"/usr/lib/postgresql/{version}/bin")
    extension = pathlib.Path(f"/usr/share/postgresql/{version}/extension/pgautofailover.control")
    if not (extension.exists() and shutil.which("pg_autoctl")):
        packages = [f"postgresql-{version}", "pg-auto-failover-cli", f"postgresql-{version}-auto-failover"]
        if os.getuid() != 0:
            raise SystemExit(f"missing: apt-get install {' '.join(packages)}")
        quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "stdout": subprocess.DEVNULL}
        subprocess.run(["apt-get", "-qq", "update"], check=True, **quiet)
        subprocess.run(["apt-get", "-qq", "install", "--no-install-recommends", *packages], check=True, **quiet)
    return programs


def tree(pid):
    """A process and all that it started, parents first."""
    children = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # Behind the name, which may contain anything: the state, then the parent.
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(stat.parts[2]))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def signal_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class Account:
    """Whom Postgres runs as, since it refuses to run as root."""

    def __init__(self, directory):
        entry = pwd.getpwnam("postgres") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
        self.name = entry.pw_name
        self.who = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
        self.home = directory / "nodes"
        self.home.mkdir()
        if self.who:
            os.chown(self.home, entry.pw_uid, entry.pw_gid)

    def options(self, programs):
        environment = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home),
            # Debian's folder for sockets may not be ours; recovery before a rewind listens on nothing else.
            "PG_REGRESS_SOCK_DIR": str(self.home),
            "PGHOST": str(self.home),
        }
        return {"env": environment, "cwd": self.home, "stdin": subprocess.DEVNULL, **self.who}


class Node:
    """A keeper and its Postgres."""

    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name
        self.port = free_port()
        self.data = cluster.account.home / name
        self.process = None

    def start(self, *command):
        with open(self.cluster.account.home / f"{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(
                ["pg_autoctl", *map(str, command)], stdout=log, stderr=log, **self.cluster.options)

    def run(self):
        self.start("run", "--pgdata", self.data)

    def freeze(self):
        """As a machine that hangs: connections stay open, and nobody answers."""
        while True:
            pids = tree(self.process.pid)
            signal_all(pids, signal.SIGSTOP)
            if tree(self.process.pid) == pids:
                return pids

    def thaw(self):
        signal_all(reversed(tree(self.process.pid)), signal.SIGCONT)

    def kill(self):
        """As a machine that is switched off: nothing of it says goodbye, and none notices that another went first."""
        if self.process:
            signal_all(self.freeze(), signal.SIGKILL)
            self.process.wait()


class Cluster:
    """A monitor and `count` nodes."""

    def __init__(self, directory, count):
        self.programs = install()
        self.account = Account(directory)
        self.options = self.account.options(self.programs)
        self.monitor = Node(self, "monitor")
        self.nodes = [Node(self, f"node{number}") for number in range(1, count + 1)]

    def start(self):
        common = ["--hostname", "127.0.0.1", "--auth", "trust", "--no-ssl"]
        self.monitor.start("create", "monitor", "--pgdata", self.monitor.data, "--pgport", self.monitor.port, *common,
                           "--run")
        until(lambda: self.ask_monitor("SELECT count(*) FROM pgautofailover.node") == "0", "the monitor", 60)
        for name, value in MONITOR.items():
            self.ask_monitor(f"ALTER SYSTEM SET {name} = '{value}'")
        self.ask_monitor("SELECT pg_reload_conf()")
        address = f"postgres://autoctl_node@127.0.0.1:{self.monitor.port}/pg_auto_failover?sslmode=prefer"
        for number, node in enumerate(self.nodes, 1):
            node.start("create", "postgres", "--pgdata", node.data, "--pgport", node.port, *common,
                       "--name", node.name, "--username", self.account.name, "--dbname", "postgres",
                       "--monitor", address, "--run")
            until(lambda count=number: self.is_settled(count), f"{node.name} has joined", 180)
            subprocess.run(["pg_autoctl", "config", "set", "timeout.network_partition_timeout",
                            str(PARTITION_TIMEOUT), "--pgdata", str(node.data)],
                           check=True, capture_output=True, **self.options)
            subprocess.run(["pg_autoctl", "reload", "--pgdata", str(node.data)],
                           check=True, capture_output=True, **self.options)

    def psql(self, port, database, *arguments, check=True):
        command = [self.programs / "psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", port,
                   "-U", self.account.name, "-d", database, *arguments]
        ran = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, check=False)
        if check and ran.returncode != 0:
            raise RuntimeError(ran.stderr)
        return ran.stdout.strip() if ran.returncode == 0 else None

    def ask_monitor(self, sql):
        return self.psql(self.monitor.port, "pg_auto_failover", "-c", sql, check=False)

    def states(self):
        """What each node is and shall become, as the monitor knows it."""
        told = self.ask_monitor("SELECT nodename, reportedstate, goalstate FROM pgautofailover.node") or ""
        return {name: (now, then) for name, now, then in (line.split("|") for line in told.splitlines())}

    def primary(self):
        """The node that takes writes."""
        states = self.states()
        for node in self.nodes:
            # One that is dead is still what it said last; what it shall become is not.
            if all(state in ("primary", "wait_primary", "single") for state in states.get(node.name, ("",))):
                return node
        raise RuntimeError(f"no primary: {states}")

    def is_settled(self, count=None):
        """Whether one node is the primary and all others follow it, without being waited for."""
        count = count or len(self.nodes)
        states = self.states()
        expected = [("primary", "primary")] + [("secondary", "secondary")] * (count - 1)
        if count == 1:
            expected = [("single", "single")]
        if sorted(states.values()) == sorted(expected):
            return True
        if count > 1 and any("catchingup" in state for state in states.values()):
            # A base backup begins with a checkpoint, which takes its time unless it is asked for.
            with contextlib.suppress(RuntimeError):
                self.psql(self.primary().port, "postgres", "-c", "CHECKPOINT")
        return False

    def settle(self):
        until(self.is_settled, lambda: f"the cluster is whole again: {self.states()}", 180)

    def switch_over(self):
        """A planned change of the primary, as an administrator asks for it."""
        ran = subprocess.run(["pg_autoctl", "perform", "switchover", "--pgdata", str(self.monitor.data)],
                             capture_output=True, text=True, **self.options)
        if ran.returncode != 0:
            raise RuntimeError(ran.stderr)

    def stop(self):
        for node in [*self.nodes, self.monitor]:
            node.kill()


def until(condition, what, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.2)
