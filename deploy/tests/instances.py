"""Two instances of a service behind nginx, under load: restarted, killed, upgraded.

python3 instances.py ROOT SERVICE BINARY CERTIFICATE KEY [NEXT]. Real binaries with the production configuration and the
database role of deploy/, deploy/SERVICE/nginx.conf in front, and a Postgres whose superuser is let in at PGHOST.
NEXT is the service with one migration more (next_version). Says in figures what became of the requests; ends with
status 1 and the reason where one failed that must not.

- Each instance is restarted by SIGTERM in turn: no request of any method fails.
- Each is killed with SIGKILL and started again: no GET, PUT or DELETE fails. A POST or PATCH that was being answered by
  the killed one is 503, because nginx does not send it again; whatever was acknowledged is there.
- The next version migrates, as the owner, while both old ones serve; then one is replaced, then the other, and the old
  one does not start any more: no request of any method fails.
- Without NEXT the migration is applied by SQL, as it would be, while both serve; an instance that is started then refuses
  the schema, and goes back to work when the migration was undone as deploy/README.md says it: no request fails either.
"""

import base64
import collections
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

import front

ROOT, SERVICE, BINARY = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
CERTIFICATE, KEY = sys.argv[4:6]
NEXT = sys.argv[6] if len(sys.argv) > 6 else None
NAME = SERVICE.replace("-", "_")
DATABASE = f"{NAME}_two"
PGHOST = os.environ["PGHOST"]
PASSWORD = "five words nobody has guessed"
THREADS = 6
REPEATED = {"GET", "PUT", "DELETE"}
PRESERVED = {"PATH": os.environ["PATH"]}


def sql(text, database=DATABASE):
    command = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database]
    return subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout.split("\n")[:-1]


def settings():
    """What the production configuration leaves to the operator."""
    key = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
    found = [f"database.postgres.host={PGHOST}", f"database.postgres.database={DATABASE}", "database.postgres.password=any"]
    if SERVICE == "ident":
        found += [f"database.encryption_key={key}"]
    elif SERVICE == "tokenstore":
        found += [f"crypto_keys={key}", "oidc.client_secret=any"]
    elif SERVICE == "idm-users":
        found += [f"jwt.secret={key}{key}", "mail.transport=none"]
    else:
        keys = ROOT / "services/eida-auth/tests/messages/made/keys"
        found += [f"keyring={keys}", "runmode=development", "credentials.max_per_token=10000"]
        for place in ("authdb", "privilegedb"):
            own = {"host": PGHOST, "database": DATABASE, "user": f"{NAME}_service", "schema": NAME, "password": "any"}
            found += [f"{place}.{name}={value}" for name, value in own.items()]
    return [argument for setting in found for argument in ("--set", setting)]


def command(binary, *arguments):
    return [binary, *arguments, "--config", str(ROOT / f"deploy/{SERVICE}/{SERVICE}.toml"), *settings()]


def run(*arguments, binary=BINARY, text=None):
    done = subprocess.run(command(binary, *arguments), env=PRESERVED, input=text, capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


def migrate(binary):
    """As deploy/README.md says it under Upgrades."""
    done = run("migrate", "--set", f"database.postgres.user={NAME}_owner", binary=binary)
    sql((ROOT / f"deploy/{SERVICE}/roles.sql").read_text(encoding="utf-8"))
    return done


class Instance:
    def __init__(self, directory, number):
        self.log = directory / f"instance{number}.log"
        self.port, self.metrics = front.free_port(), front.free_port()
        self.process = None

    def start(self, binary=BINARY):
        with self.log.open("a") as log:
            arguments = ["--set", f"server.bind=127.0.0.1:{self.port}", "--set", f"metrics.bind=127.0.0.1:{self.metrics}"]
            self.process = subprocess.Popen(command(binary) + arguments, env=PRESERVED, stderr=log)

    def until_ready(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            asked = subprocess.run(["curl", "-fs", "-o", "/dev/null", f"http://127.0.0.1:{self.port}/readyz"])
            if asked.returncode == 0:
                return
            time.sleep(0.05)
        sys.exit(f"an instance did not get ready; status {self.process.poll()}: {self.said()}")

    def said(self):
        return self.log.read_text(encoding="utf-8")[-2000:]

    def end(self, how, expected):
        """Ends it; gives how long that took."""
        began = time.monotonic()
        self.process.send_signal(how)
        ended = self.process.wait(60)
        assert ended == expected, f"it ended with status {ended}: {self.said()}"
        return time.monotonic() - began


class Failed(Exception):
    """A request was not answered as it should have been."""


class Load:
    """Clients without end, each on a connection of its own, that do a service's work."""

    def __init__(self, nginx, work):
        self.nginx, self.work = nginx, work
        self.phase, self.stopping = "warm", False
        self.counts, self.failures = collections.Counter(), []
        self.slowest = collections.Counter()
        # In which phase each client's request was begun.
        self.begun = ["warm"] * THREADS
        self.threads = [threading.Thread(target=self.client, args=(number,)) for number in range(THREADS)]
        for thread in self.threads:
            thread.start()

    def client(self, number):
        connection = self.nginx.connection()
        headers = {"Host": self.nginx.host, **self.work.headers}

        def ask(method, path, body=None, kind="application/json", good=(200, 201, 204)):
            phase, began, text = self.phase, time.monotonic(), b""
            self.begun[number] = phase
            try:
                connection.request(method, path, body, {**headers, "Content-Type": kind})
                answer = connection.getresponse()
                text, status = answer.read(), answer.status
            except Exception as error:
                connection.close()
                status, text = 0, repr(error).encode()
            self.counts[phase, method] += 1
            self.slowest[phase] = max(self.slowest[phase], time.monotonic() - began)
            if status not in good:
                self.failures.append((phase, method, path, status, text[:300].decode()))
                raise Failed
            return text

        turn = 0
        while not self.stopping:
            turn += 1
            try:
                self.work.do(ask, f"{number}-{turn}", turn)
            except Failed:
                pass

    def enter(self, phase):
        """Returns when no request of the phase before is open."""
        self.phase = phase
        while any(begun != phase for begun in self.begun):
            assert all(thread.is_alive() for thread in self.threads), "a client has ended"
            time.sleep(0.01)

    def failed(self, phase, methods=None):
        return [it for it in self.failures if it[0] == phase and (methods is None or it[1] in methods)]

    def figures(self, phase):
        by_method = {method: count for (when, method), count in sorted(self.counts.items()) if when == phase}
        failed = collections.Counter(f"{method} {status}" for _, method, _, status, _ in self.failed(phase))
        return (f"{sum(by_method.values())} requests {by_method}, failed: {dict(failed) or 'none'}, "
                f"the slowest {self.slowest[phase]:.2f} s")

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()


class Ident:
    """People are made, read, changed, found and deleted; tokens are issued and looked at."""

    def __init__(self, nginx):
        login = {"username": "admin", "password": PASSWORD}
        status, _, body = nginx.ask("POST", "/auth/login", json.dumps(login), {"Content-Type": "application/json"})
        assert status == 200, body
        self.headers = {"Authorization": f"Bearer {json.loads(body)['token']}"}
        # What was answered to be there, and what was asked to go.
        self.made, self.deleted = set(), set()

    @staticmethod
    def seed():
        arguments = ("--username", "admin", "--name", "Admin", "--email", "admin@example.org", "--password-stdin", "--admin")
        run("users", "create", *arguments, text=PASSWORD)

    def do(self, ask, name, turn):
        email = f"{name}@example.org"
        person = json.loads(ask("POST", "/", json.dumps({"name": f"Person {name}", "email": email})))["id"]
        self.made.add(email)
        ask("GET", f"/{person}")
        ask("PATCH", f"/{person}", json.dumps({"name": "Changed"}), "application/merge-patch+json")
        found = json.loads(ask("GET", f"/?email={email}"))
        assert [it["name"] for it in found] == ["Changed"], found
        ask("GET", "/.well-known/jwks.json")
        if turn % 2:
            self.deleted.add(email)
            ask("DELETE", f"/{person}")

    def is_kept(self):
        stored = set(sql("SELECT email FROM ident.users"))
        missing = self.made - self.deleted - stored
        assert not missing, f"acknowledged and not there: {missing}"
        return f"{len(self.made)} people were acknowledged, none is missing"


class Tokenstore:
    """API keys are made, listed, used and deleted."""

    KEY = "tsk_of_the_test_of_two_instances"

    def __init__(self, _):
        self.headers = {"Authorization": f"Bearer {self.KEY}"}
        self.made, self.deleted = set(), set()

    @classmethod
    def seed(cls):
        digest = hashlib.sha256(cls.KEY.encode()).hexdigest()
        sql("INSERT INTO tokenstore.api_keys (issuer, subject, id, digest, name, profile, created_at) "
            f"VALUES ('https://login.example.org', 'ada', gen_random_uuid(), '{digest}', 'load', '{{}}', now())")

    def do(self, ask, name, turn):
        made = json.loads(ask("POST", "/api/v1.0/keys", json.dumps({"name": name, "expires_in": "1d"})))["id"]
        self.made.add(made)
        ask("GET", "/api/whoami")
        ask("GET", "/api/v1.0/authorizations")
        assert made in ask("GET", "/api/v1.0/keys").decode()
        # There can be a hundred.
        self.deleted.add(made)
        ask("DELETE", f"/api/v1.0/keys/{made}")

    def is_kept(self):
        stored = set(sql("SELECT id FROM tokenstore.api_keys WHERE name <> 'load'"))
        missing, back = self.made - self.deleted - stored, self.deleted & stored
        # A DELETE that was not acknowledged may not have been carried out.
        assert not missing, f"acknowledged and not there: {missing}"
        return f"{len(self.made)} keys were acknowledged, none is missing, {len(back)} still to be deleted"


class IdmUsers:
    """Subjects are made, read, changed and listed."""

    def __init__(self, nginx):
        login = {"username": "admin@example.org", "password": PASSWORD}
        status, _, body = nginx.ask("POST", "/auth", json.dumps(login))
        assert status == 200, body
        self.headers = {"Authorization": f"JWT {json.loads(body)['access_token']}"}
        self.made = set()

    @staticmethod
    def seed():
        run("users", "create", "--username", "admin@example.org", "--password-stdin", "--admin", text=PASSWORD)

    def do(self, ask, name, turn):
        subject = {"sssid": name, "name": f"Subject {name}", "bday": "1976-04-12"}
        ask("POST", "/subject", json.dumps(subject))
        self.made.add(name)
        ask("GET", f"/subject/{name}")
        ask("PUT", f"/subject/{name}", json.dumps({"sssid": name, "name": "Changed"}))
        changed = json.loads(ask("GET", f"/subject/{name}"))
        assert changed["data"]["name"] == "Changed", changed
        ask("GET", "/subject?perpage=5")
        ask("GET", f"/subject/{name}/audits")

    def is_kept(self):
        stored = set(sql("SELECT sssid FROM idm_users.subjects"))
        assert self.made <= stored, f"acknowledged and not there: {self.made - stored}"
        return f"{len(self.made)} subjects were acknowledged, none is missing; {run('audit', 'verify').strip()}"


class EidaAuth:
    """Logins are given for a signed token."""

    headers = {}

    def __init__(self, _):
        made = ROOT / "services/eida-auth/tests/messages/made/good/rsa4096-clear.asc"
        self.token = made.read_bytes()
        self.made = set()

    @staticmethod
    def seed():
        sql("INSERT INTO eida_auth.networks (network, start_year, end_year) VALUES ('Z3', 2015, 2022);"
            "INSERT INTO eida_auth.epos_fdsn VALUES ('/epos/alparray', 'Z3', 2015, 2022)")

    def do(self, ask, name, turn):
        login, _, _ = ask("POST", ("/", "/auth")[turn % 2], self.token, "application/octet-stream").decode().partition(":")
        self.made.add(login)
        ask("GET", "/version")
        ask("GET", "/application.wadl")
        ask("GET", "/cleanup")

    def is_kept(self):
        stored = set(sql("SELECT login FROM eida_auth.users"))
        assert self.made <= stored, f"acknowledged and not there: {len(self.made - stored)} logins"
        return f"{len(self.made)} logins were given, none is missing"


WORK = {"ident": Ident, "tokenstore": Tokenstore, "idm-users": IdmUsers, "eida-auth": EidaAuth}[SERVICE]


def restarted(load, instances):
    load.enter("restarted")
    took = []
    for instance in instances * 2:
        took.append(instance.end(signal.SIGTERM, 0))
        instance.start()
        instance.until_ready()
    for instance in instances:
        assert '"level":"ERROR"' not in instance.log.read_text(encoding="utf-8"), f"a clean stop: {instance.said()}"
    print(f"ok: restarted by SIGTERM, four times, each in {min(took):.1f} to {max(took):.1f} s: ", end="")
    passed(load)


def killed(load, instances):
    load.enter("killed")
    for instance in instances * 3:
        instance.end(signal.SIGKILL, -signal.SIGKILL)
        time.sleep(0.3)
        instance.start()
        instance.until_ready()
        time.sleep(0.2)
    unsure = [it for it in load.failed("killed") if it[1] not in REPEATED]
    assert all(status == 503 for _, _, _, status, _ in unsure), unsure
    # A DELETE that is sent again finds nothing where the first was carried out and only its answer lost.
    lost = [it for it in load.failed("killed", REPEATED) if it[1::2] != ("DELETE", 404)]
    print("ok: killed by SIGKILL, six times: ", end="")
    passed(load, lost)


def refuses_to_start(instance):
    # At the port that nginx knows: nobody can connect there before the schema was looked at.
    instance.start(BINARY)
    refused = instance.process.wait(30)
    assert refused == 1 and "newer" in instance.said(), f"the old version: status {refused}: {instance.said()}"


def outlived(load, instances):
    load.enter("outlived")
    as_owner = f"SET ROLE {NAME}_owner; SET search_path = {NAME};"
    migration = (ROOT / "deploy/tests/next_version.sql").read_text(encoding="utf-8")
    noted = ("INSERT INTO refinery_schema_history SELECT max(version) + 1, 'next_version', max(applied_on), '0' "
             "FROM refinery_schema_history;")
    sql(f"BEGIN; {as_owner} {migration} {noted} COMMIT")
    time.sleep(1)
    first, second = instances
    second.end(signal.SIGTERM, 0)
    refuses_to_start(second)
    time.sleep(0.5)
    undone = sql(f"SELECT format('ALTER TABLE {NAME}.%I DROP COLUMN of_next_version;', table_name) "
                 f"FROM information_schema.columns WHERE table_schema = '{NAME}' AND column_name = 'of_next_version'")
    assert undone
    sql(f"BEGIN; {as_owner} {' '.join(undone)} DELETE FROM refinery_schema_history WHERE name = 'next_version'; COMMIT")
    second.start()
    second.until_ready()
    time.sleep(0.5)
    print("ok: a migration of the next version while both serve, refused at a start, undone: ", end="")
    passed(load)


def upgraded(load, instances):
    load.enter("upgraded")
    applied = migrate(NEXT)
    assert "next_version" in applied, applied
    # Both old ones go on over the new schema.
    time.sleep(1)
    first, second = instances
    first.end(signal.SIGTERM, 0)
    first.start(NEXT)
    first.until_ready()
    time.sleep(1)
    second.end(signal.SIGTERM, 0)
    refuses_to_start(second)
    second.start(NEXT)
    second.until_ready()
    time.sleep(0.5)
    print("ok: upgraded, with a migration in the middle; the old version is refused then: ", end="")
    passed(load)


def passed(load, failures=None):
    phase = load.phase
    load.enter("between")
    print(load.figures(phase), flush=True)
    if failures is None:
        failures = load.failed(phase)
    assert not failures, f"{len(failures)} requests failed, as {failures[:3]}; nginx: {load.nginx.errors()[-2000:]}"


def main():
    sql(f"CREATE DATABASE {DATABASE}", "postgres")
    sql((ROOT / f"deploy/{SERVICE}/roles.sql").read_text(encoding="utf-8"))
    migrate(BINARY)
    with tempfile.TemporaryDirectory() as directory:
        instances = [Instance(pathlib.Path(directory), number) for number in (1, 2)]
        ports = [instance.port for instance in instances]
        nginx = front.Nginx(ROOT / f"deploy/{SERVICE}/nginx.conf", CERTIFICATE, KEY, ports, limits=False)
        try:
            WORK.seed()
            for instance in instances:
                instance.start()
            for instance in instances:
                instance.until_ready()
            work = WORK(nginx)
            load = Load(nginx, work)
            try:
                time.sleep(1)
                restarted(load, instances)
                killed(load, instances)
                (upgraded if NEXT else outlived)(load, instances)
            finally:
                load.stop()
            assert not load.failed("between") and not load.failed("warm"), load.failures
            print(f"ok: {work.is_kept()}")
        finally:
            nginx.stop()
            for instance in instances:
                if instance.process:
                    instance.process.kill()
                    instance.process.wait()


main()
