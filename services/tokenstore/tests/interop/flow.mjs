// Login, link, refresh with rotation, reuse, revocation and logout, as browsers and programs do them.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";

const { INTEROP_URL: store, INTEROP_ISSUER: issuer } = process.env;
const ok = (what) => console.log(`ok: ${what}`);
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A browser: cookies for each origin, redirects followed, the provider's own pages filled in. */
class Browser {
  cookies = new Map();

  async send(url, options = {}) {
    const { origin } = new URL(url);
    const jar = this.cookies.get(origin) ?? new Map();
    this.cookies.set(origin, jar);
    const headers = { ...options.headers, cookie: [...jar].map(([name, value]) => `${name}=${value}`).join("; ") };
    const answer = await fetch(url, { ...options, headers, redirect: "manual" });
    for (const set of answer.headers.getSetCookie()) {
      const [pair, ...attributes] = set.split(";");
      const [name, value] = [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)];
      const over = attributes.some((attribute) => /^\s*max-age=0$/i.test(attribute) || /expires=Thu, 01 Jan 1970/i.test(attribute));
      over || value === "" ? jar.delete(name) : jar.set(name, value);
    }
    return answer;
  }

  own(path, method = "POST", body) {
    const headers = { origin: store, "sec-fetch-site": "same-origin" };
    return this.send(`${store}${path}`, { method, headers, body });
  }

  /** Goes on until a page of the service, signing in and allowing on the way. */
  async walk(url, person, method = "GET") {
    for (let step = 0; step < 30; step += 1) {
      const answer = await this.send(url, { method });
      method = "GET";
      const to = answer.headers.get("location");
      if (to) {
        url = new URL(to, url).href;
        continue;
      }
      if (!url.startsWith(issuer)) return { url, answer };
      const html = await answer.text();
      const action = html.match(/<form[^>]*action="([^"]+)"/)?.[1];
      assert(action, `the provider shows no form at ${url}: ${html.slice(0, 300)}`);
      const form = new URLSearchParams();
      for (const [input] of html.matchAll(/<input[^>]*>/g)) {
        const name = input.match(/name="([^"]+)"/)?.[1];
        if (name) form.set(name, input.match(/value="([^"]*)"/)?.[1] ?? "");
      }
      if (form.has("login")) form.set("login", person);
      if (form.has("password")) form.set("password", "anything");
      if (html.includes('name="logout"')) form.set("logout", "yes");
      const sent = await this.send(new URL(action, url).href, { method: "POST", body: form });
      url = new URL(sent.headers.get("location") ?? url, url).href;
    }
    throw new Error(`no end of redirects at ${url}`);
  }

  async json(path, status = 200) {
    const answer = await this.send(`${store}${path}`);
    const text = await answer.text();
    assert.equal(answer.status, status, text);
    return JSON.parse(text);
  }
}

const seen = async (what) => (await (await fetch(`${issuer}/seen`)).json()).filter((one) => one.startsWith(what));

const ada = new Browser();
const { answer } = await ada.walk(`${store}/api/oidc/login?return_url=/api/whoami`, "ada");
const who = await answer.json();
assert.equal(who.id, "ada");
assert.equal(who.email, "ada@example.org");
ok("a person signs in with PKCE, state, nonce and a verified ID token");

for (const method of ["basic", "post", "signed"]) {
  const { url } = await ada.walk(`${store}/api/v1.0/${method}/authorize?return_url=/api/v1.0/authorizations`, "ada");
  assert.equal(new URL(url).search, "", url);
  const linked = (await ada.json("/api/v1.0/authorizations")).find((one) => one.provider === method);
  assert.equal(linked.status, "active");
  assert.equal(linked.account, "ada@example.org");
  ok(`an account is linked, the client authenticated by ${method}`);
}

const made = await ada.send(`${store}/api/v1.0/keys`, {
  method: "POST",
  headers: { origin: store, "sec-fetch-site": "same-origin", "content-type": "application/json" },
  body: JSON.stringify({ name: "interop" }),
});
const { key } = await made.json();
// For what comes afterwards.
writeFileSync(`${process.env.INTEROP_WORK}/key`, key, { mode: 0o600 });
const token = async (provider, query = "") => {
  const asked = await fetch(`${store}/api/v1.0/${provider}/token${query}`, { headers: { authorization: `Bearer ${key}` } });
  return { status: asked.status, ...(await asked.json()) };
};
const userinfo = async (access) => (await fetch(`${issuer}/me`, { headers: { authorization: `Bearer ${access}` } })).status;

for (const method of ["basic", "post", "signed"]) {
  const first = await token(method);
  assert.equal(first.status, 200);
  assert.equal(await userinfo(first.access_token), 200);
  const before = (await seen("refresh_token")).length;
  let last = first.access_token;
  for (let round = 0; round < 3; round += 1) {
    const next = await token(method, "?min_ttl=100000");
    assert.equal(next.status, 200, JSON.stringify(next));
    assert.notEqual(next.access_token, last);
    assert.equal(await userinfo(next.access_token), 200);
    last = next.access_token;
  }
  assert.equal((await seen("refresh_token")).length, before + 3);
  ok(`tokens are refreshed and refresh tokens rotated three times, the client authenticated by ${method}`);
}

// A token lasts an hour: after some seconds it is not good enough any more, and a new one is for as long.
await sleep(8000);
const before = (await seen("refresh_token")).length;
const many = await Promise.all(Array.from({ length: 100 }, () => token("basic", "?min_ttl=3593")));
assert(many.every((one) => one.status === 200));
assert.equal((await seen("refresh_token")).length, before + 1);
assert.equal(new Set(many.map((one) => one.access_token)).size, 1);
ok("a hundred callers at once make one request, and the rotated refresh token survives");

// An old state of the database is put back: the refresh token in it was used already.
const sql = (text) => execFileSync("psql", ["-qAt", "-h", process.env.INTEROP_SOCKET, "-U", "tokenstore", "postgres", "-c", text], { encoding: "utf8" }).trim();
const old = sql("SELECT refresh_token FROM tokenstore.links WHERE provider = 'post'");
assert.equal((await token("post", "?min_ttl=100000")).status, 200);
sql(`UPDATE tokenstore.links SET refresh_token = '${old}' WHERE provider = 'post'`);
const reused = await token("post", "?min_ttl=100000");
assert.equal(reused.status, 409);
assert.match(reused.type, /reauthorization_required$/);
assert.equal((await ada.json("/api/v1.0/authorizations")).find((one) => one.provider === "post").status, "reauthorization_required");
ok("a refresh token that was used before is answered reauthorization_required");
await ada.walk(`${store}/api/v1.0/post/authorize?return_url=/api/v1.0/authorizations`, "ada");
assert.equal((await token("post", "?min_ttl=100000")).status, 200);
ok("linking again mends it");

const { access_token: access } = await token("basic");
assert.equal(await (await ada.own("/api/v1.0/basic/revoke")).json(), "Token revoked");
assert.equal((await token("basic")).status, 400);
for (let patience = 100; (await userinfo(access)) === 200; patience -= 1) {
  assert(patience > 0, "the provider still knows the token");
  await sleep(100);
}
ok("revoking ends the link, and the provider's grant with it");

const end = await ada.walk(`${store}/api/oidc/logout`, "ada", "POST").catch((error) => error);
assert(end instanceof Error || end.answer.status === 403, "a logout without an origin is refused");
const logout = await ada.own("/api/oidc/logout");
assert.equal(logout.status, 303);
const { url: out } = await ada.walk(logout.headers.get("location"), "ada");
assert.equal(out, `${store}/`);
await ada.json("/api/whoami", 401);
ok("signing out ends the session here and at the provider, and comes back");
