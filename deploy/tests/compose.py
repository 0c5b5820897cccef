"""What no schema says of docker-compose.yml: python3 compose.py ROOT (needs PyYAML).

Whatever it names is there (files, secrets that make-secrets makes, stages of the Dockerfile, networks, services),
every container is confined, and only nginx can be reached from outside.
"""

import pathlib
import re
import sys

import yaml

root = pathlib.Path(sys.argv[1])
compose = yaml.safe_load((root / "docker-compose.yml").read_text(encoding="utf-8"))
services = compose["services"]
stages = set(re.findall(r"^FROM .* AS ([a-z-]+)$", (root / "deploy/docker/Dockerfile").read_text(encoding="utf-8"), re.M))
made = (root / "deploy/docker/make-secrets").read_text(encoding="utf-8")
wrong = []


def expect(condition, message):
    if not condition:
        wrong.append(message)


def is_made(secret):
    """Whether make-secrets makes this file, for one service or by a name of its own."""
    of_service = re.sub(r"^(ident|tokenstore|idm-users|eida-auth)-", "$service-", secret)
    return f"once {secret} " in made or f'once "{of_service}"' in made or f"$1/{secret}" in made


def bound_files(service):
    for volume in service.get("volumes", []):
        if volume.startswith("./"):
            yield volume.split(":")[0]


for name, secret in compose["secrets"].items():
    expect(secret["file"] == f"./deploy/docker/secrets/{name}", f"secret {name}: {secret['file']}")
    expect(is_made(name), f"secret {name}: make-secrets does not make it")

used = set()
for name, service in services.items():
    secrets = set(service.get("secrets", []))
    used |= secrets
    expect(secrets <= compose["secrets"].keys(), f"{name}: secrets {secrets - compose['secrets'].keys()}")
    named = {path.removeprefix("/run/secrets/") for path in service.get("environment", {}).values() if "/run/secrets/" in str(path)}
    expect(named <= secrets, f"{name}: its environment names {named - secrets}, which it is not given")
    expect(set(service.get("depends_on", {})) <= services.keys(), f"{name}: depends_on")
    expect(set(service["networks"]) <= compose["networks"].keys(), f"{name}: networks")
    if "build" in service:
        expect(service["build"]["target"] in stages, f"{name}: there is no stage {service['build']['target']}")
        expect((root / service["build"]["dockerfile"]).is_file(), f"{name}: dockerfile")
    for path in bound_files(service):
        expect((root / path).exists(), f"{name}: {path} is not there")
    expect(service.get("read_only") is True, f"{name}: its file system can be written to")
    expect("no-new-privileges:true" in service.get("security_opt", []), f"{name}: no-new-privileges")
    expect(service.get("cap_drop") == ["ALL"] or name == "postgres", f"{name}: it keeps capabilities")
    expect("privileged" not in service, f"{name}: privileged")
    expect(("ports" in service) == (name == "nginx"), f"{name}: ports")
    expect(not any("password" in str(value).lower() and "/run/secrets/" not in str(value)
                   for value in service.get("environment", {}).values()), f"{name}: a password in its environment")

expect(used == compose["secrets"].keys(), f"secrets that nobody uses: {compose['secrets'].keys() - used}")
address = services["nginx"]["networks"]["front"]["ipv4_address"]
for name in ("ident", "tokenstore", "idm-users", "eida-auth"):
    prefix = name.upper().replace("-", "_")
    environment = services[name]["environment"]
    expect(environment[f"{prefix}__SERVER__TRUSTED_PROXIES"] == f"{address}/32", f"{name}: trusts another than nginx")
    expect(environment[f"{prefix}__DATABASE__POSTGRES__USER"].endswith("_service"), f"{name}: its role")
    expect(environment[f"{prefix}__DATABASE__MIGRATE"] == "false", f"{name}: it migrates by itself")

if wrong:
    sys.exit("\n".join(wrong))
print(f"{len(services)} containers")
