"""Runs nginx with deploy/ident/nginx.conf in front of two servers that tell what reached them.

python3 nginx_ident.py nginx.conf CERTIFICATE KEY. Ends with status 1 and the reason where something is not so.
"""

import http.server
import json
import re
import socket
import sys
import threading
import time

import front

HOST = "ident.example.org"


class Instance(http.server.ThreadingHTTPServer):
    """An upstream: counts what it gets, and can be told to drop requests after reading them."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = []
        self.connections = []
        self.dropping = False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()
        # Also those that nginx keeps open.
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer in one piece.
    wbufsize = -1

    def setup(self):
        super().setup()
        self.server.connections.append(self.connection)

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path))
        if self.server.dropping:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        told = json.dumps(
            {
                "port": self.server.server_port,
                "path": self.path,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "length": len(body),
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = answer

    def log_message(self, *_):
        pass


class Nginx(front.Nginx):
    """In front of those servers."""

    def told(self, method, path, **more):
        status, _, body = self.ask(method, path, **more)
        assert status == 200, f"{method} {path}: {status} {body[:200]}"
        return json.loads(body)


def same_instance_for_a_person(nginx, instances):
    ports = {}
    for person in range(1, 101):
        paths = (f"/{person}", f"/api/users/{person}", f"/{person}/services/github/token", f"/{person}?x=1")
        reached = {nginx.told("GET", path)["port"] for path in paths}
        assert len(reached) == 1, f"person {person} reached {reached}"
        ports.setdefault(reached.pop(), []).append(person)
    shares = sorted(len(people) for people in ports.values())
    assert len(shares) == 2 and shares[0] >= 20, f"the shares of 100 people are {shares}"


def paths_are_passed_on_as_they_came(nginx, instances):
    for path in ("/?email=a%40b&page_size=2", "/7%2Fx", "/api/clients?after_id=1", "/auth/refresh"):
        assert nginx.told("GET", path)["path"] == path


def clients_cannot_forge_who_they_are(nginx, instances):
    forged = {
        "Forwarded": "for=192.0.2.7",
        "X-Forwarded-For": "192.0.2.8",
        "X-Request-Id": "chosen",
        "X-Forwarded-Proto": "http",
    }
    for path in ("/", "/7", "/auth/login"):
        headers = nginx.told("GET", path, headers=forged)["headers"]
        assert "forwarded" not in headers, headers
        assert headers["x-forwarded-for"] == "127.0.0.1", headers
        assert headers["x-forwarded-proto"] == "https", headers
        assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"]), headers
        assert headers["host"] == HOST, headers


def metrics_cannot_be_reached(nginx, instances):
    status, _, _ = nginx.ask("GET", "/metrics")
    assert status == 404, status
    assert not any(path == "/metrics" for instance in instances for _, path in instance.seen)


def bodies_are_bounded(nginx, instances):
    assert nginx.told("POST", "/", body=b"x" * 65536)["length"] == 65536
    status, headers, body = nginx.ask("POST", "/", body=b"x" * 65537)
    assert status == 413, status
    assert headers["Content-Type"] == "application/problem+json", headers["Content-Type"]
    assert json.loads(body)["status"] == 413


def floods_of_tries_are_turned_away(nginx, instances):
    statuses = []
    for _ in range(80):
        status, headers, body = nginx.ask("POST", "/auth/login", body=b"{}")
        statuses.append(status)
        if status == 429:
            assert headers["Retry-After"] == "1", headers
            assert json.loads(body)["status"] == 429
    assert statuses[:40] == [200] * 40, statuses
    assert 429 in statuses, statuses
    # What checks no secret goes on.
    assert nginx.told("GET", "/7")["path"] == "/7"


def sent(instances):
    return sum(len(instance.seen) for instance in instances)


def what_is_not_idempotent_is_never_repeated(nginx, instances):
    for instance in instances:
        instance.dropping = True
    try:
        for method, times in (("POST", 1), ("PATCH", 1), ("GET", 2)):
            before = sent(instances)
            status, headers, body = nginx.ask(method, "/7", body=b"{}")
            assert status == 503 and headers["Retry-After"] == "5", (method, status)
            assert json.loads(body)["status"] == 503
            assert sent(instances) - before == times, f"{method} was sent {sent(instances) - before} times"
    finally:
        for instance in instances:
            instance.dropping = False


def one_instance_is_enough(nginx, instances):
    instances[0].stop()
    # nginx has noticed that its idle connections ended.
    time.sleep(0.2)
    for person in range(1, 41):
        # A connection that was refused has carried nothing: a POST goes to the other one, too.
        assert nginx.told("GET", f"/{person}")["port"] == instances[1].server_port
        assert nginx.told("POST", f"/api/users/{person}", body=b"{}")["port"] == instances[1].server_port
        assert nginx.told("POST", "/", body=b"{}")["port"] == instances[1].server_port


CHECKS = (
    same_instance_for_a_person,
    paths_are_passed_on_as_they_came,
    clients_cannot_forge_who_they_are,
    metrics_cannot_be_reached,
    bodies_are_bounded,
    floods_of_tries_are_turned_away,
    what_is_not_idempotent_is_never_repeated,
    one_instance_is_enough,
)


def main(site, certificate, key):
    instances = [Instance(), Instance()]
    nginx = Nginx(site, certificate, key, [instance.server_port for instance in instances])
    try:
        for check in CHECKS:
            check(nginx, instances)
            print(f"ok: {check.__name__}")
    finally:
        nginx.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
