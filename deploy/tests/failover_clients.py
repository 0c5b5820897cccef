"""Clients that write and remember every answer, for failover."""

import http.client
import json
import threading
import time

# Behind the longest that a service works on a request (server.request_timeout, 30 s).
PATIENCE = 40


class Ledger:
    """What is known of things by their keys, from the answers alone: their state, or None where they are not."""

    def __init__(self):
        self.sure = {}
        # What was asked for and not answered, or answered with "later": it may have been done.
        self.open = {}
        # The same where the answer would have told the key.
        self.nameless = []

    def compare(self, stored):
        """Where `stored` is not what the answers say, a line each, and how many open questions were done after all."""
        strangers = stored.keys() - self.sure.keys() - self.open.keys()
        wrong = []
        if len(strangers) > len(self.nameless):
            wrong.append(f"{len(strangers)} that nobody knows, and {len(self.nameless)} without an answer")
        for key in self.sure.keys() | self.open.keys():
            allowed = [self.sure.get(key)] + ([self.open[key]] if key in self.open else [])
            if stored.get(key) not in allowed:
                wrong.append(f"{key} is {stored.get(key)!r}, expected {' or '.join(map(repr, allowed))}")
        done = sum(1 for key, state in self.open.items() if stored.get(key) == state)
        return wrong, done + len(strangers)


def is_success(status):
    return status is not None and status < 300


class Times:
    """When writes were sent and answered."""

    def __init__(self):
        self.lock = threading.Lock()
        self.writes = []

    def note(self, sent, status):
        with self.lock:
            self.writes.append((sent, time.monotonic(), status))

    def succeeded(self, moment):
        """Whether a write that was sent after `moment` was answered with success."""
        with self.lock:
            return any(sent >= moment and is_success(status) for sent, _, status in reversed(self.writes))

    def since(self, moment):
        """The longest time without a success since `moment`, in seconds, and the statuses of all that failed."""
        with self.lock:
            writes = [write for write in self.writes if write[1] >= moment]
        good = [moment, *sorted(answered for _, answered, status in writes if is_success(status))]
        failed = [status for _, _, status in writes if not is_success(status)]
        return max(after - before for before, after in zip(good, good[1:])), failed

    def count(self, condition):
        with self.lock:
            return sum(1 for _, _, status in self.writes if condition(status))


class Client:
    """One connection that is kept, and one request at a time."""

    def __init__(self, port, times):
        self.port = port
        self.times = times
        self.connection = None

    def ask(self, method, path, body=None, **headers):
        """The status and the body of the answer; none where there is none."""
        if isinstance(body, dict):
            body = json.dumps(body)
            headers.setdefault("content_type", "application/json")
        sent = time.monotonic()
        status, text = None, b""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            self.connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            answer = self.connection.getresponse()
            status, text = answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self.connection = None
        if method != "GET":
            self.times.note(sent, status)
        return status, text


class Load:
    """Threads that write at one service, until they are stopped; they can be held meanwhile."""

    def __init__(self, service, port):
        self.service = service
        self.port = port
        self.ledger = Ledger()
        self.times = Times()
        self.going = threading.Event()
        self.over = False
        self.busy = 0
        self.changed = threading.Condition()
        self.failed = []
        self.threads = []

    def start(self, count):
        self.going.set()
        for number in range(count):
            client = Client(self.port, self.times)
            thread = threading.Thread(target=self._work, args=(number, client), daemon=True)
            thread.start()
            self.threads.append(thread)

    def _work(self, number, client):
        life = 0
        while not self.over:
            self.going.wait()
            with self.changed:
                self.busy += 1
            try:
                life += 1
                self.service.live(self, client, number, life)
            except Exception as error:  # pylint: disable=broad-except
                self.failed.append(repr(error))
                return
            finally:
                with self.changed:
                    self.busy -= 1
                    self.changed.notify_all()

    def change(self, client, key, state, method, path, body=None, **headers):
        """Asks that `key` become `state`; gives the answer if that is known to be done."""
        self.ledger.open[key] = state
        answer = self._send(client, method, path, body, **headers)
        if answer is not None:
            self.ledger.sure[key] = self.ledger.open.pop(key)
        return answer

    def make(self, client, path, body, **headers):
        """Asks for something whose key is in the answer; gives that if it came."""
        answer = self._send(client, "POST", path, body, **headers)
        if answer is None:
            self.ledger.nameless.append(path)
        return answer

    def _send(self, client, method, path, body, **headers):
        status, text = client.ask(method, path, body, **headers)
        if is_success(status):
            return text
        if status is not None and status != 503:
            # Nothing that these clients ask for may be refused, or be a fault of the service's.
            raise AssertionError(f"{method} {path}: {status} {text[:300]}")
        time.sleep(0.05)
        return None

    def hold(self):
        """No more writes; those under way are waited for."""
        self.going.clear()
        with self.changed:
            self.changed.wait_for(lambda: self.busy == 0)

    def go_on(self):
        self.going.set()

    def stop(self):
        self.over = True
        self.going.set()
        for thread in self.threads:
            thread.join()


class Watch:
    """Asks /readyz ten times a second, and notes when it was not 200."""

    def __init__(self, port):
        self.client = Client(port, Times())
        self.seen = []
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self):
        while True:
            status, _ = self.client.ask("GET", "/readyz")
            self.seen.append((time.monotonic(), status))
            time.sleep(0.1)

    def away(self, begin, end):
        """From when to when it was not ready, in seconds after `begin`."""
        bad = [moment - begin for moment, status in list(self.seen) if begin <= moment <= end and status != 200]
        return (bad[0], bad[-1]) if bad else None
