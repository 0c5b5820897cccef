// npm's oidc-provider, a certified OpenID provider, as the login provider and as one whose accounts are linked.
// Refresh tokens rotate; a used one that comes again ends the whole grant (RFC 9700, 4.14.2).
import { readFileSync } from "node:fs";
import { Provider } from "oidc-provider";

const [issuer, store, seconds] = process.argv.slice(2);
const client = (client_id, redirect_uri, extra = {}) => ({
  client_id,
  client_secret: process.env.INTEROP_SECRET,
  redirect_uris: [redirect_uri],
  post_logout_redirect_uris: [`${store}/`],
  grant_types: ["authorization_code", "refresh_token"],
  response_types: ["code"],
  ...extra,
});
const link = (id) => `${store}/api/v1.0/${id}/redirect_uri`;
const jwks = JSON.parse(readFileSync(process.env.INTEROP_JWKS, "utf8"));

const provider = new Provider(issuer, {
  clients: [
    client("login", `${store}/api/oidc/callback`),
    client("basic", link("basic")),
    client("post", link("post"), { token_endpoint_auth_method: "client_secret_post" }),
    client("signed", link("signed"), {
      client_secret: undefined,
      token_endpoint_auth_method: "private_key_jwt",
      jwks,
    }),
  ],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  // Claims of the scopes are in the ID token, too.
  conformIdTokenClaims: false,
  async findAccount(_, id) {
    return {
      accountId: id,
      claims: async () => ({ sub: id, name: `Person ${id}`, email: `${id}@example.org`, email_verified: true }),
    };
  },
  features: {
    devInteractions: { enabled: true },
    revocation: { enabled: true },
    rpInitiatedLogout: { enabled: true },
  },
  rotateRefreshToken: true,
  issueRefreshToken: async (_, client, code) => client.grantTypeAllowed("refresh_token") && code.scopes.has("offline_access"),
  pkce: { required: () => true },
  cookies: { keys: ["interop"] },
  ttl: { AccessToken: Number(seconds), IdToken: 3600, Interaction: 600, Session: 3600, Grant: 3600, RefreshToken: 3600 },
});

// What came to the token endpoint, for the test.
const seen = [];
provider.on("grant.success", (ctx) => seen.push(ctx.oidc.params.grant_type));
provider.on("grant.error", (ctx, error) => seen.push(`${ctx.oidc.params?.grant_type}: ${error.error}`));
provider.use(async (ctx, next) => {
  if (ctx.path === "/seen") {
    ctx.body = seen;
    return;
  }
  await next();
});
provider.listen(Number(new URL(issuer).port), "127.0.0.1");
