"""Authlib as an OAuth 2.0 client, and the original's signature over the client's id."""

import base64
import time
import warnings

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from common import URL, Administrator, answered, end, proof, raises, sign_in

# RFC 9864 has newer names for EdDSA; that both sides know this one is what is proved.
warnings.filterwarnings("ignore", category=SecurityWarning)
TOKEN, INTROSPECT, REVOKE = (f"{URL}/oauth2/{name}" for name in ("token", "introspect", "revoke"))
admin = Administrator()
with_secret = admin.make_client(permissions=["users:read", "clients:read"])


def public_pem(key):
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def private_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def session(method="client_secret_basic", **more):
    return OAuth2Session(
        with_secret["id"],
        with_secret["client_secret"],
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        **more,
    )


def status_of_list(session):
    return session.get(f"{URL}/?page_size=1").status_code


class ShortAssertion(PrivateKeyJWT):
    """Authlib's assertions are valid for an hour unless it is said otherwise; ident takes five minutes at most."""

    def sign(self, auth, token_endpoint):
        # Anew each time: Authlib would keep `jti` with the claims.
        self.claims = {"exp": int(time.time()) + 60}
        return super().sign(auth, token_endpoint)


for method in ("client_secret_basic", "client_secret_post"):

    @proof(f"Authlib gets a token by client_credentials with {method}, and it is good")
    def _():
        with session(method, scope="users:read") as client:
            token = client.fetch_token(TOKEN, grant_type="client_credentials")
            assert token["token_type"] == "Bearer" and token["scope"] == "users:read", token
            assert token["expires_in"] == 900 and not token.is_expired(), token
            assert status_of_list(client) == 200

    @proof(f"Authlib with {method} and a wrong secret is told invalid_client")
    def _():
        with OAuth2Session(with_secret["id"], "wrong", token_endpoint_auth_method=method) as client:
            refused = raises(OAuthError, lambda: client.fetch_token(TOKEN, grant_type="client_credentials"))
            assert refused.error == "invalid_client", refused


for algorithm, key, kind in [
    ("RS256", rsa.generate_private_key(65537, 2048), RSAKey),
    ("PS256", rsa.generate_private_key(65537, 3072), RSAKey),
    ("ES256", ec.generate_private_key(ec.SECP256R1()), ECKey),
    ("EdDSA", ed25519.Ed25519PrivateKey.generate(), OKPKey),
]:
    made = admin.make_client(permissions=["users:read"], public_key=public_pem(key))

    def with_key(assertion):
        signer = kind.import_key(private_pem(key))
        client = OAuth2Session(
            made["id"],
            signer,
            token_endpoint_auth_method="private_key_jwt",
            revocation_endpoint_auth_method="private_key_jwt",
        )
        client.register_client_auth_method(assertion)
        return client

    @proof(f"Authlib gets tokens by client_credentials with private_key_jwt, {algorithm}")
    def _():
        with with_key(ShortAssertion(TOKEN, alg=algorithm)) as client:
            for _ in range(2):
                client.fetch_token(TOKEN, grant_type="client_credentials")
                assert status_of_list(client) == 200

    @proof(f"Authlib introspects and revokes with private_key_jwt, {algorithm}")
    def _():
        with with_key(ShortAssertion(TOKEN, alg=algorithm)) as client:
            token = client.fetch_token(TOKEN, grant_type="client_credentials")["access_token"]
            assert answered(client.introspect_token(INTROSPECT, token=token), 200)["active"] is True
            assert client.revoke_token(REVOKE, token=token).status_code == 200
            assert answered(client.introspect_token(INTROSPECT, token=token), 200) == {"active": False}

    @proof(f"an assertion of {algorithm} that is valid for an hour is refused")
    def _():
        with with_key(PrivateKeyJWT(TOKEN, alg=algorithm)) as client:
            refused = raises(OAuthError, lambda: client.fetch_token(TOKEN, grant_type="client_credentials"))
            assert refused.error == "invalid_client", refused


@proof("Authlib refreshes a person's token by refresh_token")
def _():
    first = sign_in()
    # A person's token needs no client, whereas Authlib's own "none" would name one.
    with OAuth2Session(token_endpoint_auth_method=lambda _, method, uri, headers, body: (uri, headers, body)) as client:
        second = client.refresh_token(TOKEN, refresh_token=first)
        assert second["access_token"] != first and second["refresh_token"] == second["access_token"], second
        assert status_of_list(client) == 200
        third = client.refresh_token(TOKEN, refresh_token=second["refresh_token"])
        assert third["access_token"] not in (first, second["access_token"])


@proof("Authlib refreshes a person's token on behalf of a client, authenticated")
def _():
    first = sign_in()
    with session() as client:
        assert client.refresh_token(TOKEN, refresh_token=first)["access_token"] != first


@proof("Authlib refreshes a client's token by refresh_token, authenticated")
def _():
    with session() as client:
        first = client.fetch_token(TOKEN, grant_type="client_credentials")["access_token"]
        second = client.refresh_token(TOKEN, refresh_token=first)
        assert second["access_token"] != first and status_of_list(client) == 200


@proof("Authlib renews a token by itself when it has expired")
def _():
    with session(token_endpoint=TOKEN, token={"access_token": "x", "token_type": "Bearer", "expires_at": 1}) as client:
        client.metadata["grant_type"] = "client_credentials"
        assert status_of_list(client) == 200


@proof("Authlib introspects a person's token and is told who it is")
def _():
    with session() as client:
        told = answered(client.introspect_token(INTROSPECT, token=sign_in(), token_type_hint="access_token"), 200)
        assert told["active"] is True and told["type"] == "user" and told["iss"] == URL, told
        assert "users:credentials" in told["scope"].split(), told


@proof("Authlib revokes a token, which then opens nothing and cannot be refreshed")
def _():
    with session() as client:
        token = client.fetch_token(TOKEN, grant_type="client_credentials")["access_token"]
        assert status_of_list(client) == 200
        assert client.revoke_token(REVOKE, token=token, token_type_hint="access_token").status_code == 200
        assert status_of_list(client) == 401
        refused = raises(OAuthError, lambda: client.refresh_token(TOKEN, refresh_token=token))
        assert refused.error == "invalid_grant", refused


@proof("the original's RSA-PSS signature with the longest salt is accepted at /auth/token")
def _():
    for bits in (2048, 4096):
        key = rsa.generate_private_key(65537, bits)
        made = admin.make_client(public_key=public_pem(key), static_signature=True)
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.MAX_LENGTH)
        signature = base64.b64encode(key.sign(made["id"].encode(), pss, hashes.SHA256())).decode()
        body = {"client_id": made["id"], "signature": signature, "audience": "somebody"}
        for _ in range(2):
            answer = requests.post(f"{URL}/auth/token", json=body, timeout=30)
            assert answered(answer, 200)["audience"] == "somebody"
        admin.ask("PATCH", f"/api/clients/{made['id']}", 200, {"static_signature": False})
        assert requests.post(f"{URL}/auth/token", json=body, timeout=30).status_code == 401


end()
