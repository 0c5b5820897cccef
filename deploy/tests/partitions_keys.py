"""The distribution key of every table, and what is known to touch more than one partition. docs/scaling.md says why."""

import base64
import dataclasses

KEY = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


@dataclasses.dataclass
class Service:
    name: str
    given: list
    # Columns of the key; the primary key where it has to become another.
    tables: dict
    lost_foreign_keys: list = dataclasses.field(default_factory=list)
    # Part of a statement: why it may touch several partitions.
    wide: dict = dataclasses.field(default_factory=dict)
    # Tests that fail on these tables and are not about them: why.
    other_tests: dict = dataclasses.field(default_factory=dict)

    def settings(self, directory):
        return [value.format(directory=directory) for value in self.given]


IDENT = Service(
    name="ident",
    given=[f"database.encryption_key={KEY}"],
    tables={
        "users": (["id"], None),
        "credentials": (["user_id"], None),
        "linked_accounts": (["user_id"], None),
        "login_addresses": (["user_id"], None),
        "user_events": (["user_id"], None),
        "token_families": (["id"], None),
        "token_refreshes": (["family_id"], None),
        "revoked_subjects": (["subject"], None),
        "login_failures": (["bucket"], None),
        "client_assertions": (["client_id"], None),
    },
    wide={
        "u.id = ANY($1)": "reads by id that are asked for at once are gathered into one statement, which reads the "
                          "partitions of their ids",
        "FROM users u WHERE true": "GET / lists and searches over all people",
        "WHERE username_key = $1": "a sign-in looks for the name: by the table of names, if that is distributed",
        "max(blocked_until) FROM login_failures": "the failures of an account and of an address: two keys",
        "FROM token_families WHERE revoked_at IS NOT NULL": "every instance reads all revocations, by its watch",
        "FROM revoked_subjects WHERE": "every instance reads all revocations, by its watch",
        "user_events e WHERE e.dead_at IS NULL": "the dispatcher claims what is due, of all people",
        "FROM user_events": "the metrics and the commands `ident events` count and list events of all people",
        "UPDATE user_events SET dead_at = NULL": "the command `ident events replay`",
        "FROM credentials WHERE user_id = ANY": "a page of GET /api/users: the names of its people",
        "> ($1, $2) ORDER BY": "the command `ident encryption reencrypt` goes through everything",
    },
    other_tests={
        "starts::migrating_twice_does_something_once": "begins without a schema",
        "starts::without_leave_to_migrate_an_old_schema_is_refused": "begins without a schema",
    },
)

TOKENSTORE = Service(
    name="tokenstore",
    given=[f"crypto_keys={KEY}", "oidc.discovery_url=http://127.0.0.1:9/", "oidc.client_id=any",
           "oidc.client_secret=any"],
    tables={
        "links": (["subject"], None),
        "audit": (["subject"], None),
        "api_keys": (["digest"], ["digest"]),
        "sessions": (["digest"], None),
        "login_states": (["digest"], None),
        "link_states": (["digest"], None),
        "outbox": (["id"], None),
    },
    wide={
        "api_keys WHERE issuer = $1 AND subject = $2": "a person makes, lists or revokes a key, by the person; it is "
                                                       "used by its digest",
        "UPDATE api_keys SET last_used_at": "the use of a key is noted once in a while, by the person",
        "WHERE expires_at <": "sweeping, once in a while",
        "FROM audit WHERE at <": "sweeping, once in a while",
        "FROM sessions WHERE created_at <=": "sweeping, once in a while",
        "FROM outbox": "messages that are due are claimed, and counted, over all people",
        "AND broken_at IS NULL ORDER BY obtained_at": "keep_alive looks for links that nobody uses",
        "> ($1, $2, $3) ORDER BY": "the command `tokenstore keys reencrypt` goes through everything",
        "SELECT count(*) FROM": "the command `tokenstore keys reencrypt` says how far it is",
    },
)

IDM_USERS = Service(
    name="idm-users",
    given=[f"jwt.secret={KEY}", "mail.transport=none", "admin_email=admin@example.org"],
    tables={
        "subjects": (["sssid"], None),
        "links": (["sssid"], ["sssid", "id"]),
        "resets": (["user_id"], ["user_id", "digest"]),
        "login_addresses": (["user_id"], None),
        "login_failures": (["bucket"], None),
        "mails": (["id"], None),
        "reset_requests": (["username_key"], ["username_key", "id"]),
    },
    wide={
        "FROM subjects WHERE": "lists, searches and the export go through all subjects",
        "FROM links WHERE id = $1": "a link is asked for, and established, by its id alone",
        "WHERE id = $1": "a link that was found by its id is changed by it",
        "FROM resets WHERE digest = $1": "a link to /reset is known by its digest alone",
        "UPDATE resets SET used = $2 WHERE digest = $1": "a link to /reset is known by its digest alone",
        "DELETE FROM resets WHERE expires": "sweeping, once in a while",
        "max(blocked_until) FROM login_failures": "the failures of an account and of an address: two keys",
        "FROM mails": "mails that are due are claimed, and counted, over all people",
        "FROM reset_requests": "the worker takes the oldest request",
        "SELECT id, secret FROM links": "the command that encrypts with another secret goes through all links",
    },
    other_tests={
        "audit::the_services_role_can_change_no_row_even_if_it_owns_the_schema": "makes a schema of its own",
        "configuration::migrations_are_applied_once_by_their_command": "begins without a schema",
    },
)

EIDA_AUTH = Service(
    name="eida-auth",
    given=[],
    tables={
        "users": (["login"], ["login", "user_index"]),
        "credentials": (["user_index"], None),
        "eida_temp_users": (["name"], ["name", "user_id"]),
        "issued_logins": (["token_digest"], None),
        "blocked_tokens": (["token_digest"], None),
    },
    lost_foreign_keys=["credentials_user_index_fkey"],
    wide={
        "= ANY($1": "cleaning up, in batches of all accounts",
        "FOR UPDATE SKIP LOCKED": "cleaning up, in batches of all accounts",
        "WHERE network_id = old.network_id": "a network leaves the inventory",
    },
    other_tests={"settings::migrations_are_a_command_and_a_newer_schema_is_refused": "begins without a schema"},
)

SERVICES = [IDENT, TOKENSTORE, IDM_USERS, EIDA_AUTH]
