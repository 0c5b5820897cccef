"""What docker-compose.yml does, as plain processes: python3 compose_run.py ROOT POSTGRES_PROGRAMS BINARIES
(needs PyYAML, psql and nginx).

The same scripts, environments, secrets, roles and nginx configuration, in the same order: make-secrets, a Postgres that
asks for passwords, postgres-init, the migrations, postgres-rights, the services, nginx. Addresses are this machine's.
"""

import contextlib
import http.client
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import yaml

ROOT, PROGRAMS, BINARIES = (pathlib.Path(argument) for argument in sys.argv[1:4])
SERVICES = ("ident", "tokenstore", "idm-users", "eida-auth")
WORKS = {"ident": "/.well-known/jwks.json", "tokenstore": "/readyz", "idm-users": "/status", "eida-auth": "/readyz"}
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "deploy/docker/Dockerfile").read_text(encoding="utf-8")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def run(*command, **more):
    subprocess.run([str(part) for part in command], check=True, **more)


@contextlib.contextmanager
def postgres(directory, secrets):
    """A cluster that wants passwords over TCP, as the image's does."""
    as_its_user = ("runuser", "-u", "postgres", "--") if os.getuid() == 0 else ()
    home = directory / "postgres"
    home.mkdir()
    password = home / "password"
    shutil.copy(secrets / "postgres-password", password)
    if as_its_user:
        for path in (home, password):
            shutil.chown(path, "postgres")
    port = free_port()
    run(*as_its_user, PROGRAMS / "initdb", "-D", home / "data", "-U", "postgres", f"--pwfile={password}",
        "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync", stdout=subprocess.DEVNULL, cwd=home)
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={home} -c fsync=off"
    run(*as_its_user, PROGRAMS / "pg_ctl", "-D", home / "data", "-w", "-l", home / "log", "-o", options, "start",
        stdout=subprocess.DEVNULL, cwd=home)
    try:
        yield home, port
    finally:
        run(*as_its_user, PROGRAMS / "pg_ctl", "-D", home / "data", "-m", "immediate", "stop",
            stdout=subprocess.DEVNULL, cwd=home)


def script(name, directory, secrets, replacements, environment):
    """A script of a container, with the paths of this machine."""
    text = (ROOT / "deploy/docker" / name).read_text(encoding="utf-8")
    for old, new in replacements.items():
        text = text.replace(old, new)
    text = text.replace("/run/secrets/", f"{secrets}/")
    text = re.sub(r"/roles/\$service\.sql", f"{ROOT}/deploy/$service/roles.sql", text)
    copy = directory / name
    copy.write_text(text, encoding="utf-8")
    run("bash", copy, env={**os.environ, **environment})


def environment_of(container, service, secrets, postgres_port, ports):
    """The environment that the container has, from the image and the compose file."""
    prefix = service.upper().replace("-", "_")
    definition = COMPOSE["services"][container]
    of_image = re.search(rf"^FROM base AS {service}\n(.*?)(?=^FROM|\Z)", DOCKERFILE, re.M | re.S).group(1)
    environment = dict(re.findall(r"^ENV ([A-Z_]+)=(\S+)$", of_image, re.M))
    assert environment, f"the image of {service} says not where to listen"
    environment.update(definition["environment"])
    volumes = dict(reversed(volume.split(":")[:2]) for volume in definition.get("volumes", []))
    for name, value in environment.items():
        value = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value)).replace("/run/secrets/", f"{secrets}/")
        if value in volumes:
            value = str(ROOT / volumes[value])
        environment[name] = value
    assert environment[f"{prefix}__DATABASE__POSTGRES__HOST"] == "postgres"
    environment[f"{prefix}__DATABASE__POSTGRES__HOST"] = "127.0.0.1"
    environment[f"{prefix}__DATABASE__POSTGRES__PORT"] = str(postgres_port)
    environment[f"{prefix}__SERVER__BIND"] = f"127.0.0.1:{ports[service]}"
    if f"{prefix}__METRICS__BIND" in environment:
        environment[f"{prefix}__METRICS__BIND"] = f"127.0.0.1:{free_port()}"
        environment[f"{prefix}__SERVER__TRUSTED_PROXIES"] = "127.0.0.1/32"
    return {"PATH": "/usr/bin:/bin", **environment}


def nginx_configuration(directory, secrets, ports, https_port):
    text = (ROOT / "deploy/docker/nginx.conf").read_text(encoding="utf-8")
    text = text.replace("/run/secrets/", f"{secrets}/").replace("/dev/stdout", f"{directory}/access.log")
    text = re.sub(r"listen 8443 ", f"listen 127.0.0.1:{https_port} ", text)
    text = re.sub(r"listen 8080;", f"listen 127.0.0.1:{free_port()};", text)
    text, count = re.subn(r"server ([a-z-]+):\d+ ", lambda found: f"server 127.0.0.1:{ports[found[1]]} ", text)
    assert count == len(SERVICES)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
    user = "user root;" if os.getuid() == 0 else ""
    configuration = directory / "nginx.conf"
    configuration.write_text(
        f"{user} pid {directory}/nginx.pid; error_log {directory}/error.log; daemon off; events {{}}\n"
        f"http {{ {temporary}\n{text}\n}}", encoding="utf-8")
    return configuration


def get(host, port, path, authority):
    """Over TLS, verified by our authority under this name."""
    context = ssl.create_default_context(cafile=authority)
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        with context.wrap_socket(plain, server_hostname=host) as secured:
            secured.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:8443\r\nConnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(secured)
            answer.begin()
            return answer.status, answer.headers, answer.read()


def until(condition, what):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.1)
    sys.exit(f"not within 30 s: {what}")


def is_listening(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def serve_and_ask(directory, secrets, environments, ports):
    https_port = free_port()
    processes = {name: subprocess.Popen([BINARIES / name], env=environments[name]) for name in SERVICES}
    nginx = subprocess.Popen(
        ["nginx", "-p", directory, "-c", nginx_configuration(directory, secrets, ports, https_port)])
    try:
        for name in SERVICES:
            # The image's health check.
            health = [BINARIES / name, "health"]
            until(lambda: subprocess.run(health, env=environments[name], capture_output=True).returncode == 0,
                  f"{name} health")
        until(lambda: is_listening(https_port), "nginx")
        for name in SERVICES:
            host = f"{name}.localhost"
            status, headers, body = get(host, https_port, WORKS[name], secrets / "ca.pem")
            assert status == 200, f"{host}{WORKS[name]}: {status} {body[:300]}"
            assert "Strict-Transport-Security" in headers, f"{name} does not know that it is reached by https"
            status, _, _ = get(host, https_port, "/metrics", secrets / "ca.pem")
            assert status == 404, f"{host}/metrics: {status}"
            print(f"ok: {host}")
        for name, process in processes.items():
            process.send_signal(signal.SIGTERM)
            assert process.wait(40) == 0, f"{name} ended with status {process.returncode}"
    finally:
        # Killed, it would leave its workers behind.
        nginx.terminate()
        nginx.wait()
        for process in processes.values():
            process.kill()
            process.wait()


def main():
    directory = pathlib.Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    try:
        secrets = directory / "secrets"
        run(ROOT / "deploy/docker/make-secrets", env={**os.environ, "SECRETS_DIR": str(secrets)},
            stdout=subprocess.DEVNULL)
        with postgres(directory, secrets) as (home, port):
            connection = {"PGHOST": str(home), "PGPORT": str(port)}
            script("postgres-init", directory, secrets, {}, connection)
            ports = {name: free_port() for name in SERVICES}
            for name in SERVICES:
                environment = environment_of(f"{name}-migration", name, secrets, port, ports)
                run(BINARIES / name, *COMPOSE["services"][f"{name}-migration"]["command"], env=environment,
                    stdout=subprocess.DEVNULL)
            script("postgres-rights", directory, secrets, {"-h postgres": "-h 127.0.0.1"}, {"PGPORT": str(port)})
            environments = {name: environment_of(name, name, secrets, port, ports) for name in SERVICES}
            serve_and_ask(directory, secrets, environments, ports)
    finally:
        shutil.rmtree(directory)


main()
