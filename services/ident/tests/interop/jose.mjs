// npm's jose verifies what ident signs; openid-client finds ident's endpoints by itself and uses them.

import assert from "node:assert/strict";
import { createRemoteJWKSet, errors, exportSPKI, generateKeyPair, jwtVerify } from "jose";
import * as openid from "openid-client";

const { INTEROP_URL: url, INTEROP_USERNAME: username, INTEROP_PASSWORD: password } = process.env;
const audience = "https://api.example";
let failed = false;

async function proof(text, run) {
  try {
    await run();
    console.log(`ok: ${text}`);
  } catch (error) {
    console.log(error);
    console.log(`FAILED: ${text}`);
    failed = true;
  }
}

async function post(path, body, token) {
  const headers = { "content-type": "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(answer.ok, `${path}: ${answer.status} ${text}`);
  return JSON.parse(text);
}

const signIn = async (audience) => (await post("/auth/login", { username, password, audience })).token;
const admin = await signIn();
const keys = createRemoteJWKSet(new URL(`${url}/.well-known/jwks.json`));
const expected = { issuer: url, audience, typ: "at+jwt" };
const made = await post("/api/clients", { name: "jose", permissions: ["users:read"] }, admin);

await proof("jose verifies a token of /auth/login: issuer, audience, typ at+jwt", async () => {
  const { payload } = await jwtVerify(await signIn(audience), keys, expected);
  assert.equal(payload.type, "user");
});

await proof("jose refuses a token for another audience, of another issuer, of another typ", async () => {
  const token = await signIn(audience);
  for (const other of [{ audience: "ident" }, { issuer: "https://else.example" }, { typ: "JWT" }]) {
    await assert.rejects(jwtVerify(token, keys, { ...expected, ...other }), errors.JWTClaimValidationFailed);
  }
});

// The connection is not encrypted, which is refused otherwise.
const insecurely = { execute: [openid.allowInsecureRequests] };

for (const algorithm of ["oauth2", "oidc"]) {
  await proof(`openid-client discovers ident as an authorization server of ${algorithm}`, async () => {
    const found = await openid.discovery(new URL(url), made.id, made.client_secret, undefined, {
      ...insecurely,
      algorithm,
    });
    const metadata = found.serverMetadata();
    assert.equal(metadata.issuer, url);
    assert.equal(metadata.token_endpoint, `${url}/oauth2/token`);
  });
}

const ways = {
  client_secret_basic: openid.ClientSecretBasic(made.client_secret),
  client_secret_post: openid.ClientSecretPost(made.client_secret),
};

async function discovered(id, way) {
  return openid.discovery(new URL(url), id, undefined, way, { ...insecurely, algorithm: "oauth2" });
}

async function used(configuration, id) {
  const { access_token: token, token_type: type } = await openid.clientCredentialsGrant(configuration, {
    resource: audience,
  });
  assert.equal(type, "bearer");
  const { payload } = await jwtVerify(token, keys, expected);
  assert.equal(payload.sub, id);
  const refreshed = await openid.refreshTokenGrant(configuration, token);
  assert.notEqual(refreshed.access_token, token);
  assert.equal((await openid.tokenIntrospection(configuration, refreshed.access_token)).active, true);
  await openid.tokenRevocation(configuration, refreshed.access_token);
  assert.equal((await openid.tokenIntrospection(configuration, refreshed.access_token)).active, false);
}

for (const [name, way] of Object.entries(ways)) {
  await proof(`openid-client gets, refreshes, introspects and revokes a token with ${name}`, async () => {
    await used(await discovered(made.id, way), made.id);
  });
}

for (const algorithm of ["RS256", "PS256", "ES256", "EdDSA"]) {
  await proof(`openid-client does so with private_key_jwt, ${algorithm}`, async () => {
    const pair = await generateKeyPair(algorithm, { extractable: true });
    const body = { name: algorithm, permissions: ["users:read"], public_key: await exportSPKI(pair.publicKey) };
    const { id } = await post("/api/clients", body, admin);
    await used(await discovered(id, openid.PrivateKeyJwt(pair.privateKey)), id);
  });
}

await proof("openid-client is told invalid_client for a wrong secret", async () => {
  const posted = await discovered(made.id, openid.ClientSecretPost("wrong"));
  await assert.rejects(openid.clientCredentialsGrant(posted), { error: "invalid_client", status: 401 });
  // Who came by the header Basic is told of it in a header, which openid-client shows before all else.
  const basic = await discovered(made.id, openid.ClientSecretBasic("wrong"));
  await assert.rejects(openid.clientCredentialsGrant(basic), (error) => error.cause[0].scheme === "basic");
});

process.exit(failed ? 1 : 0);
