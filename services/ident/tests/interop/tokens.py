"""PyJWT verifies what ident signs, with each kind of key, and finds new keys by itself."""

import uuid

import jwt
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from common import URL, Administrator, answered, end, proof, raises, sign_in

admin = Administrator()
client = admin.make_client(permissions=["users:read"])
JWKS = f"{URL}/.well-known/jwks.json"
# It has fetched the first key; later ones it must fetch when it meets them.
jwks = jwt.PyJWKClient(JWKS, cooldown_duration=0)
jwks.get_signing_keys()
# Tokens of all keys so far.
earlier = []


def pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def verified(token, algorithm, audience, keys=jwks):
    key = keys.get_signing_key_from_jwt(token)
    assert key.algorithm_name == algorithm, key.algorithm_name
    required = ["iss", "sub", "aud", "iat", "nbf", "exp", "jti", "type", "permissions"]
    options = {"require": required, "strict_aud": True}
    whole = jwt.decode_complete(token, key, [algorithm], options, audience=audience, issuer=URL)
    assert whole["header"]["typ"] == "at+jwt", whole["header"]
    return whole["payload"]


def of_client(audience):
    form = {"grant_type": "client_credentials", "audience": audience}
    credentials = (client["id"], client["client_secret"])
    answer = requests.post(f"{URL}/oauth2/token", data=form, auth=credentials, timeout=30)
    return answered(answer, 200)["access_token"]


for algorithm, key in [
    ("RS256", rsa.generate_private_key(65537, 2048)),
    ("ES256", ec.generate_private_key(ec.SECP256R1())),
    ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
]:

    @proof(f"a key for {algorithm} made with cryptography signs as soon as it is set")
    def _():
        shown = admin.ask("PATCH", "/api/configuration", 200, {"private_key": pem(key)})
        assert shown["algorithm"] == algorithm, shown
        assert "PRIVATE" not in str(shown)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        assert shown["public_key"].split() == public.decode().split(), shown

    @proof(f"{algorithm}: PyJWT, which knew the keys before, verifies the token of /auth/login")
    def _():
        token = sign_in("https://api.example")
        claims = verified(token, algorithm, "https://api.example")
        assert claims["type"] == "user" and claims["sub"].isdigit(), claims
        earlier.append((token, algorithm, "https://api.example"))

    @proof(f"{algorithm}: PyJWT verifies the token of /oauth2/token")
    def _():
        token = of_client("https://api.example")
        claims = verified(token, algorithm, "https://api.example")
        assert claims["type"] == "client" and claims["sub"] == client["id"] == str(uuid.UUID(claims["sub"])), claims
        assert claims["client_id"] == client["id"] and claims["permissions"] == ["users:read"], claims
        earlier.append((token, algorithm, "https://api.example"))

    @proof(f"{algorithm}: PyJWT refuses a changed token, another audience and another issuer")
    def _():
        token = sign_in("https://api.example")
        header, payload, signature = token.split(".")
        changed = f"{header}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
        raises(jwt.InvalidSignatureError, lambda: verified(changed, algorithm, "https://api.example"))
        raises(jwt.InvalidAudienceError, lambda: verified(token, algorithm, "ident"))
        key = jwks.get_signing_key_from_jwt(token)
        raises(
            jwt.InvalidIssuerError,
            lambda: jwt.decode(token, key, [algorithm], audience="https://api.example", issuer="https://else.example"),
        )


@proof("a PyJWT that comes later verifies the tokens of all keys so far")
def _():
    assert len(earlier) == 6
    late = jwt.PyJWKClient(JWKS)
    for token, algorithm, audience in earlier:
        verified(token, algorithm, audience, late)


end()
