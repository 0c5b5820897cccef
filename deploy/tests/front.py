"""An nginx with a site of deploy/, on this machine's ports: for the scripts beside this one."""

import http.client
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def instances_of(site, ports):
    """The site with these instances in each of its upstreams, in the place of its own."""

    def lines(found):
        servers = "".join(f"\n    server 127.0.0.1:{port} max_fails=0;" for port in ports)
        rest = re.sub(r"\n    server [^;]+;", "", found[2])
        return f"{found[1]}{servers}{rest}"

    text, count = re.subn(r"^(upstream \w+ \{)(.*?^\})", lines, site, flags=re.S | re.M)
    assert count, "the site has no upstream"
    return text


class Nginx:
    """A running nginx with the site at the path `site`, by HTTPS at `port`."""

    def __init__(self, site, certificate, key, ports, limits=True):
        self.port = free_port()
        self.directory = tempfile.TemporaryDirectory()
        directory = self.directory.name
        text = instances_of(pathlib.Path(site).read_text(encoding="utf-8"), ports)
        self.host = re.search(r"server_name ([a-z.]+);", text)[1]
        text = re.sub(r"(ssl_certificate +)[^;]+;", rf"\1{certificate};", text)
        text = re.sub(r"(ssl_certificate_key +)[^;]+;", rf"\1{key};", text)
        text = text.replace("/var/log/nginx/", f"{directory}/")
        text = re.sub(r"listen +(\[::\]:)?80;", "", text)
        text = re.sub(r"listen +\[::\]:443[^;]*;", "", text)
        text = re.sub(r"listen +443 ", f"listen 127.0.0.1:{self.port} ", text)
        # Without its `listen` the first server block would take port 80.
        text = re.sub(r"server \{(?:(?!^\}).)*?return 301.*?^\}\n", "", text, count=1, flags=re.S | re.M)
        if not limits:
            # One address is the load of many.
            text = re.sub(r"^ *limit_req .*;\n", "", text, flags=re.M)
        temporary = "".join(
            f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        configuration = pathlib.Path(directory, "nginx.conf")
        # As whoever it was started as, so that it can come through here.
        user = "user root;" if pathlib.Path("/proc/self").owner() == "root" else ""
        configuration.write_text(
            f"{user} pid {directory}/pid; error_log {directory}/error.log; daemon off; events {{}}\n"
            f"http {{ {temporary}\n{text}\n}}",
            encoding="utf-8",
        )
        self.process = subprocess.Popen(["nginx", "-p", directory, "-c", str(configuration)])
        self.wait()

    def wait(self):
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    sys.exit("nginx did not start")
                time.sleep(0.05)

    def connection(self):
        context = ssl._create_unverified_context()
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=40)

    def ask(self, method, path, body=None, headers=None):
        connection = self.connection()
        try:
            connection.request(method, path, body, {"Host": self.host, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def errors(self):
        """What it complained of."""
        return pathlib.Path(self.directory.name, "error.log").read_text(encoding="utf-8")

    def stop(self):
        # Killed, it would leave its workers behind.
        self.process.terminate()
        self.process.wait(10)
        self.directory.cleanup()
