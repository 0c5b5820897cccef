"""Runs a service with its production configuration, as its database role, under the system call filter of its unit.

python3 sandbox.py SERVICE BINARY UNIT CONFIG [--set KEY=VALUE]… The filter is loaded as systemd does it: a call that
the unit does not allow kills the process. Ends with status 1 and the reason where the service does not serve.
"""

import ctypes
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

SCMP_ACT_KILL_PROCESS = 0x80000000
SCMP_ACT_ALLOW = 0x7FFF0000

# One request each that does the service's own work: it hashes a password, or asks the database.
WORK = {
    "ident": ("POST", "/auth/login", {"username": "nobody", "password": "wrong password"}, 401),
    "idm-users": ("POST", "/auth", {"username": "nobody@example.org", "password": "wrong password"}, 401),
    "tokenstore": ("GET", "/api/whoami", None, 401),
    "eida-auth": ("GET", "/cleanup", None, 200),
}


def calls_of(name):
    """The system calls of a group, those of the groups in it too."""
    if not name.startswith("@"):
        return {name}
    shown = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", name], check=True, capture_output=True, text=True
    ).stdout
    lines = [line.strip() for line in shown.splitlines()[1:]]
    return set().union(*(calls_of(line) for line in lines if line and not line.startswith("#")))


def allowed_by(unit):
    """What the lines SystemCallFilter= of a unit leave, in their order."""
    allowed = None
    for line in pathlib.Path(unit).read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        if key.strip() != "SystemCallFilter":
            continue
        taken = value.startswith("~")
        calls = set().union(*(calls_of(name) for name in value.lstrip("~").split()))
        if allowed is None:
            assert not taken, "the first filter is expected to allow"
            allowed = calls | calls_of("@default")
        elif taken:
            allowed -= calls
        else:
            allowed |= calls
    assert allowed, f"{unit} has no filter"
    return allowed


def filter_of(allowed):
    """Gives what loads the filter into the calling process."""
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    seccomp.seccomp_init.argtypes = [ctypes.c_uint32]
    seccomp.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p,
    ]
    seccomp.seccomp_load.argtypes = [ctypes.c_void_p]
    context = seccomp.seccomp_init(SCMP_ACT_KILL_PROCESS)
    for call in sorted(allowed):
        number = seccomp.seccomp_syscall_resolve_name(call.encode())
        # Negative: other machines have it.
        if number >= 0:
            assert seccomp.seccomp_rule_add_array(context, SCMP_ACT_ALLOW, number, 0, None) == 0, call

    def load():
        # Sets no_new_privs first, as NoNewPrivileges=yes does.
        if seccomp.seccomp_load(context) != 0:
            os._exit(99)

    return load


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def until_ready(port, process):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if ask(port, "GET", "/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit(f"it did not get ready; status {process.poll()}")


def main(service, binary, unit, config, *settings):
    port, metrics = free_port(), free_port()
    arguments = [binary, "--config", config, *settings]
    arguments += ["--set", f"server.bind=127.0.0.1:{port}", "--set", f"metrics.bind=127.0.0.1:{metrics}"]
    process = subprocess.Popen(arguments, preexec_fn=filter_of(allowed_by(unit)))
    try:
        until_ready(port, process)
        method, path, body, expected = WORK[service]
        status, answer = ask(port, method, path, body)
        assert status == expected, f"{method} {path}: {status} {answer}"
        status, exposition = ask(metrics, "GET", "/metrics")
        assert status == 200 and f"{service.replace('-', '_')}_http_request_duration_seconds" in exposition, exposition
        process.send_signal(signal.SIGTERM)
        ended = process.wait(30)
        assert ended == 0, f"after SIGTERM it ended with status {ended}"
    finally:
        process.kill()
        if process.wait() == -signal.SIGSYS:
            sys.exit("killed: it made a system call that the unit does not allow")


if __name__ == "__main__":
    main(*sys.argv[1:])
