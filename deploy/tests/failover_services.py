"""The four services under failover: how each is set up, what its clients write, and what must be in its database."""

import base64
import datetime
import hashlib
import http.server
import json
import os
import secrets
import subprocess
import threading
import urllib.parse

from failover_clients import Client, Times

ENCRYPTION_KEY = base64.b64encode(os.urandom(32)).decode()


def output(*command, **more):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, **more).stdout


class Service:
    name = ""
    # SQL that gives a line for each thing that was done in part.
    half_done = ""
    # SQL that gives what is stored, as one JSON object from keys to states.
    stored = ""

    def __init__(self, directory):
        self.directory = directory
        self.database = self.name.replace("-", "_")

    def settings(self):
        return []

    def prepare(self, port, cluster):
        """What the clients need, once the service runs."""

    def live(self, load, client, number, life):
        """What one client does, again and again, with a key of its own each time."""
        raise NotImplementedError


class Ident(Service):
    name = "ident"
    stored = """SELECT coalesce(json_object_agg(u.email, json_build_array(u.name, a.account_id, u.version - 1)), '{}')
        FROM users u LEFT JOIN linked_accounts a ON a.user_id = u.id"""
    # Nobody takes the notifications, so each change has its event beside it.
    half_done = """WITH told AS (
            SELECT user_id, count(*) FILTER (WHERE type = 'urn:glotpod:user:new') AS made,
                   count(*) FILTER (WHERE type = 'urn:glotpod:user:patch') AS changed,
                   count(*) FILTER (WHERE type = 'urn:glotpod:user:delete') AS deleted
            FROM user_events GROUP BY user_id)
        SELECT coalesce(u.id, t.user_id) FROM told t FULL JOIN users u ON u.id = t.user_id
        WHERE (t.made = 1 AND t.deleted = (u.id IS NULL)::int
               AND (u.id IS NULL OR t.changed = u.version - 1)) IS NOT TRUE"""

    def settings(self):
        return ["auth.records=open", f"database.encryption_key={ENCRYPTION_KEY}", "outgoing.allow_private=true",
                "notifications.url=http://127.0.0.1:9/{user_id}",
                f"notifications.secret={base64.b64encode(os.urandom(32)).decode()}"]

    def live(self, load, client, number, life):
        email = f"p{life}@c{number}.example.org"
        account = f"{number}-{life}"
        document = {"name": "New", "email": email, "services": {"github": {"id": account, "access_token": "secret"}}}
        made = load.change(client, email, ["New", account, 0], "POST", "/", document)
        if made is None:
            return
        path = f"/{json.loads(made)['id']}"
        for change in range(1, 4):
            name = f"Change {change}"
            if load.change(client, email, [name, account, change], "PATCH", path, json.dumps({"name": name}),
                           content_type="application/merge-patch+json") is None:
                return
        if life % 4 == 0:
            load.change(client, email, None, "DELETE", path)


class IdmUsers(Service):
    name = "idm-users"
    # An audit row for each change.
    stored = """SELECT coalesce(json_object_agg(s.sssid, json_build_array(s.name, a.count - 1)), '{}')
        FROM subjects s JOIN (SELECT sssid, count(*) FROM audit GROUP BY sssid) a USING (sssid)"""
    half_done = """SELECT coalesce(s.sssid, a.sssid) FROM subjects s
        FULL JOIN (SELECT DISTINCT sssid FROM audit WHERE kind = 'subject') a USING (sssid)
        WHERE s.sssid IS NULL OR a.sssid IS NULL"""

    def settings(self):
        return [f"jwt.secret={secrets.token_hex(32)}", "mail.transport=none", "admin_email=admin@example.org"]

    def prepare(self, port, cluster):
        client = Client(port, Times())
        password = secrets.token_hex(16)
        form = urllib.parse.urlencode({"username": "admin@example.org", "pass1": password, "pass2": password})
        status, text = client.ask("POST", "/init", form, content_type="application/x-www-form-urlencoded")
        assert status == 200, text
        status, text = client.ask("POST", "/auth", {"username": "admin@example.org", "password": password})
        assert status == 200, text
        self.token = f"JWT {json.loads(text)['access_token']}"

    def live(self, load, client, number, life):
        sssid = f"S-{number}-{life}"
        subject = {"sssid": sssid, "name": "New", "bday": "1980-01-01"}
        if load.change(client, sssid, ["New", 0], "POST", "/subject", subject, authorization=self.token) is None:
            return
        for change in range(1, 4):
            name = f"Change {change}"
            if load.change(client, sssid, [name, change], "PUT", f"/subject/{sssid}",
                           {"sssid": sssid, "name": name}, authorization=self.token) is None:
                return


class Tokenstore(Service):
    name = "tokenstore"
    stored = """SELECT coalesce(json_object_agg(id, json_build_array(there, made, revoked)), '{}') FROM (
            SELECT a.detail AS id, bool_or(k.id IS NOT NULL) AS there,
                   count(*) FILTER (WHERE a.action = 'key_made') AS made,
                   count(*) FILTER (WHERE a.action = 'key_revoked') AS revoked
            FROM audit a LEFT JOIN api_keys k ON k.id::text = a.detail
            WHERE a.action IN ('key_made', 'key_revoked') GROUP BY a.detail) AS every"""
    half_done = """SELECT coalesce(k.id::text, a.detail) FROM api_keys k FULL JOIN (
            SELECT detail, count(*) FILTER (WHERE action = 'key_made') AS made,
                   count(*) FILTER (WHERE action = 'key_revoked') AS revoked
            FROM audit WHERE action IN ('key_made', 'key_revoked') GROUP BY detail) a ON k.id::text = a.detail
        WHERE (a.made = 1 AND a.revoked = (k.id IS NULL)::int) IS NOT TRUE"""

    def __init__(self, directory):
        super().__init__(directory)
        self.key = directory / "login.pem"
        output("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.key)
        modulus = output("openssl", "rsa", "-in", self.key, "-noout", "-modulus").decode().strip().partition("=")[2]
        self.login = LoginProvider(base64url(bytes.fromhex(modulus)))

    def settings(self):
        return [f"crypto_keys={ENCRYPTION_KEY}", f"oidc.discovery_url={self.login.issuer}", "oidc.client_id=tokenstore",
                "oidc.client_secret=any", "outgoing.allow_private=true"]

    def token(self, subject):
        now = int(datetime.datetime.now().timestamp())
        claims = {"iss": self.login.issuer, "aud": "tokenstore", "sub": subject, "iat": now, "exp": now + 86400}
        parts = [base64url(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "login"}, claims)]
        text = ".".join(parts)
        signature = output("openssl", "dgst", "-sha256", "-sign", self.key, input=text.encode())
        return f"Bearer {text}.{base64url(signature)}"

    def prepare(self, port, cluster):
        # Nobody may have more than a hundred keys, and one whose revocation was not answered stays for good.
        self.tokens = [self.token(f"person {number}") for number in range(16)]

    def live(self, load, client, number, life):
        token = self.tokens[number]
        made = load.make(client, "/api/v1.0/keys", {"name": f"key {life}"}, authorization=token)
        if made is not None:
            key = json.loads(made)["id"]
            load.ledger.sure[key] = [True, 1, 0]
            load.change(client, key, [False, 1, 1], "DELETE", f"/api/v1.0/keys/{key}", authorization=token)


class EidaAuth(Service):
    name = "eida-auth"
    # The digest of the password, and how many networks the login may see.
    stored = """SELECT coalesce(json_object_agg(u.login, json_build_array(c.digest,
            (SELECT count(*) FROM eida_temp_users p WHERE p.name = u.login),
            (SELECT count(*) FROM issued_logins i WHERE i.login = u.login))), '{}')
        FROM users u JOIN credentials c USING (user_index) WHERE u.expires_at IS NOT NULL"""
    half_done = """SELECT u.login FROM users u WHERE NOT EXISTS (SELECT FROM credentials c
            WHERE c.user_index = u.user_index) OR 2 <> (SELECT count(*) FROM eida_temp_users p WHERE p.name = u.login)
        UNION ALL SELECT name FROM eida_temp_users p WHERE NOT EXISTS (SELECT FROM users u WHERE u.login = p.name)"""

    def settings(self):
        return ["runmode=production", f"keyring={self.directory}/eida.asc", "credentials.max_per_token=10000"]

    def prepare(self, port, cluster):
        primary = cluster.primary().port
        cluster.psql(primary, self.database, "-c", """SET search_path = eida_auth;
            INSERT INTO networks (network, start_year, end_year) VALUES ('Z3', 2015, 2022), ('9A', 2016, 2024);
            INSERT INTO epos_fdsn SELECT '/epos/alparray', network, start_year, end_year FROM networks""")

    def sign(self):
        """Tokens, as the EAS makes them, and the key that they are signed with."""
        home = self.directory / "gpg"
        home.mkdir(mode=0o700)
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
        output(*gpg, "--quick-generate-key", "eas@example.org", "rsa2048", "sign", "never")
        (self.directory / "eida.asc").write_bytes(output(*gpg, "--armor", "--export", "eas@example.org"))
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=30)
        token = {"valid_until": end.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "memberof": "/epos/alparray;/"}
        self.tokens = []
        # A token may have ten thousand logins.
        for number in range(40):
            token["cn"] = f"Person {number}"
            signed = output(*gpg, "--digest-algo", "SHA256", "--armor", "--sign", input=json.dumps(token).encode())
            self.tokens.append(signed)
        output("gpgconf", "--homedir", home, "--kill", "all")

    def live(self, load, client, number, life):
        made = load.make(client, "/", self.tokens[life % len(self.tokens)])
        if made is not None:
            login, _, password = made.decode().partition(":")
            digest = hashlib.md5(f"{login}:FDSN:{password}".encode()).hexdigest()
            load.ledger.sure[login] = [digest, 2, 1]


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class LoginProvider(http.server.ThreadingHTTPServer):
    """Only what verifies a bearer: the discovery document and the key."""

    daemon_threads = True

    def __init__(self, modulus):
        super().__init__(("127.0.0.1", 0), Answer)
        self.issuer = f"http://127.0.0.1:{self.server_port}"
        key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "login", "n": modulus, "e": "AQAB"}
        self.documents = {
            "/keys": {"keys": [key]},
            "/.well-known/openid-configuration": {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            },
        }
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        document = self.server.documents.get(self.path)
        body = json.dumps(document or {}).encode()
        self.send_response(200 if document else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
