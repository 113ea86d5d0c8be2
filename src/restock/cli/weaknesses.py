"""Settings that are acceptable one by one and leave a system open all the same.

A weakness is refused where it gives something away to others, else it is a word of warning.
`private` says that the machines share a network which nobody else can reach: only then may
services be reached past the gateway and speak without TLS.
"""

import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from restock.cli.addresses import is_here
from restock.engines.local import FACTS
from restock.engines.names import OPERATOR_PASSWORD, SUPERUSER
from restock.kernel.identity import KEYS_FRESH_S
from restock.kernel.settings import ServiceSettings

SHORTEST_PASSWORD = 12  # characters
LONGEST_TOKEN_MIN = 30
USUAL_TOKEN_MIN = 15
PLAIN = ("disable", "allow", "prefer")  # sslmode
SUPERUSERS = ("postgres", "root", SUPERUSER)
# Where the drivers look for what a URL leaves out.
UNSAID = {
    "host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER",
    "password": "PGPASSWORD", "passfile": "PGPASSFILE", "sslmode": "PGSSLMODE",
    "sslcert": "PGSSLCERT",
}  # fmt: skip
SECRET_FILES = ("secrets.json", FACTS, "nats/nats.json", "envoy/configuration.json")
PRIVATE = "or check with --private-network where nobody else reaches the machines' network"


@dataclass(frozen=True)
class Weakness:
    """What is weak, and what to do about it. `where` is a setting or a file."""

    where: str
    what: str
    refused: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def weak_settings(
    found: Mapping[str, ServiceSettings], environ: Mapping[str, str], *, private: bool
) -> list[Weakness]:
    """What is weak in the settings of these services, each once."""
    seen: dict[Weakness, None] = {}
    for service, settings in found.items():
        prefix = f"RESTOCK_{service.upper()}"
        for weakness in (
            *_reach(service, prefix, settings, private),
            *_databases(prefix, settings, environ, private),
            *_nats(prefix, settings, private),
            *_tokens(settings),
            *(_gateway(settings, private) if service == "gateway" else ()),
        ):
            seen.setdefault(weakness)
    for weakness in (*_shared_databases(found, environ), *_operator(environ), *_keys(found)):
        seen.setdefault(weakness)
    return list(seen)


def weak_files(root: Path) -> Iterator[Weakness]:
    """What others may read of a data directory."""
    if root.is_dir() and stat.S_IMODE(root.stat().st_mode) & 0o007:
        yield Weakness(str(root), "others may look into the data directory: chmod 700")
    for name in SECRET_FILES:
        path = root / name
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield Weakness(str(path), "holds secrets, and others may read it: chmod 600")


def _reach(
    service: str, prefix: str, settings: ServiceSettings, private: bool
) -> Iterator[Weakness]:
    if not private and not is_here(settings.host):
        yield Weakness(
            f"{prefix}_HOST",
            f"on {settings.host} others reach {service} past the gateway and its limits, and read "
            f"its /metrics: leave it at 127.0.0.1, {PRIVATE}",
        )
    urls = {"RESTOCK_JWKS_URL": settings.jwks_url}
    urls["RESTOCK_INVENTORY_URL"] = getattr(settings, "inventory_url", "")
    for variable, url in urls.items():
        place = urlsplit(url)
        if not private and place.scheme == "http" and not is_here(place.hostname or ""):
            yield Weakness(
                variable,
                "what is read over plain http can be changed on its way, and with it who may do "
                f"what: use https, {PRIVATE}",
            )


def _parts(url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What a database's URL says, and the environment where it doesn't. Raises psycopg.Error."""
    unsaid = {name: environ[variable] for name, variable in UNSAID.items() if environ.get(variable)}
    return unsaid | {name: str(value) for name, value in conninfo_to_dict(url).items()}


def _databases(
    prefix: str, settings: ServiceSettings, environ: Mapping[str, str], private: bool
) -> Iterator[Weakness]:
    users = set()
    for name in ("DATABASE_URL", "MIGRATE_URL"):
        url, variable = getattr(settings, name.lower()), f"{prefix}_{name}"
        if not url:
            continue
        try:
            parts = _parts(url, environ)
        except psycopg.Error:
            yield Weakness(variable, "is no URL of a PostgreSQL database")
            continue
        hosts = parts.get("host", parts.get("hostaddr", "")).split(",")
        remote = not all(is_here(host) for host in hosts)
        if remote and not private and parts.get("sslmode", "prefer") in PLAIN:
            yield Weakness(
                variable,
                "passwords and rows may go to the database without TLS: add sslmode=verify-full "
                f"(at least sslmode=require), {PRIVATE}",
            )
        user = parts.get("user", "")
        if user in SUPERUSERS:
            yield Weakness(
                variable, f"{user} may do everything, other tenants' rows included: use a role "
                "of the service's own",
            )  # fmt: skip
        if user in users:
            yield Weakness(
                variable,
                f"the service signs in as {user}, the owner of its tables, whom no wall between "
                "tenants holds: give it a role that owns nothing",
            )
        users.add(user)
        by_file = any(host.startswith("/") for host in hosts) or not any(hosts)
        if not by_file and "sslcert" not in parts and "passfile" not in parts:
            yield from _password(variable, parts.get("password", ""), user)


def _password(variable: str, password: str, user: str) -> Iterator[Weakness]:
    if not password:
        yield Weakness(variable, "there is no password: give one")
    elif len(password) < SHORTEST_PASSWORD or password == user:
        yield Weakness(
            variable,
            f"the password can be guessed: give one of {SHORTEST_PASSWORD} random characters "
            "or more",
        )


def _nats(prefix: str, settings: ServiceSettings, private: bool) -> Iterator[Weakness]:
    if not settings.nats_url:
        return
    servers = [part.strip() for part in settings.nats_url.split(",")]
    places = [urlsplit(one if "://" in one else f"nats://{one}") for one in servers]
    remote = [place for place in places if not is_here(place.hostname or "")]
    if not private and any(place.scheme not in ("tls", "wss") for place in remote):
        yield Weakness(
            "RESTOCK_NATS_URL", f"events and passwords go without TLS: write tls://, {PRIVATE}"
        )
    if not prefix.endswith("GATEWAY"):
        inline = next((place.password for place in places if place.password), "")
        given = settings.nats_password or inline or ""
        yield from _password(f"{prefix}_NATS_PASSWORD", given, settings.nats_user)


def _tokens(settings: ServiceSettings) -> Iterator[Weakness]:
    if settings.token_minutes > USUAL_TOKEN_MIN:
        yield Weakness(
            "RESTOCK_TOKEN_MINUTES",
            f"a token that was stolen may be good for {settings.token_minutes} minutes while NATS "
            f"is away: {USUAL_TOKEN_MIN} is usual, {LONGEST_TOKEN_MIN} the most",
            refused=settings.token_minutes > LONGEST_TOKEN_MIN,
        )
    if settings.log_level == "debug":
        yield Weakness("RESTOCK_LOG_LEVEL", "debug is for machines without secrets", refused=False)
    for name in ("guesses_account", "guesses_address"):
        if getattr(settings, name, 1) == 0:
            yield Weakness(f"RESTOCK_AUTH_{name.upper()}", "passwords may be guessed without end")
    if getattr(settings, "keys_days", 1) == 0:
        yield Weakness("RESTOCK_AUTH_KEYS_DAYS", "one key signs for ever", refused=False)


def _gateway(settings: Any, private: bool) -> Iterator[Weakness]:
    if not private and not is_here(settings.listen_host) and not settings.trusted_hops:
        yield Weakness(
            "RESTOCK_GATEWAY_LISTEN_HOST",
            f"on {settings.listen_host} passwords and tokens come in without TLS: put a proxy that "
            "ends TLS in front and say so by RESTOCK_GATEWAY_TRUSTED_HOPS, "
            f"{PRIVATE}",
        )
    for name in ("auth", "inventory", "vendor", "notification", "socket"):
        places = getattr(settings, f"{name}_upstream")
        if not private and any(not is_here(place.rpartition(":")[0]) for place in places):
            yield Weakness(
                f"RESTOCK_GATEWAY_{name.upper()}_UPSTREAM",
                f"tokens go to another machine without TLS: {PRIVATE.removeprefix('or ')}",
            )
    for name in ("address", "account", "login"):
        if not getattr(settings, f"rate_{name}"):
            yield Weakness(
                f"RESTOCK_GATEWAY_RATE_{name.upper()}",
                "this limit is switched off: give a rate, or leave it at its default",
            )
    for origin in settings.origins:
        host = urlsplit(origin).hostname or ""
        if "*" in origin:
            yield Weakness("RESTOCK_GATEWAY_ORIGINS", "origins are exact: name each")
        elif origin.startswith("http:") and not is_here(host):
            yield Weakness(
                "RESTOCK_GATEWAY_ORIGINS",
                f"whoever is on the way to {origin} writes its pages: use https",
                refused=False,
            )
    if settings.trust_request_id and not settings.trusted_hops:
        yield Weakness(
            "RESTOCK_GATEWAY_TRUST_REQUEST_ID",
            "with no proxy of ours in front anybody writes the ids in the logs",
            refused=False,
        )


def _shared_databases(
    found: Mapping[str, ServiceSettings], environ: Mapping[str, str]
) -> Iterator[Weakness]:
    """A database or a role that two services have, however their URLs are written."""
    owners: dict[tuple[str, ...], str] = {}
    for service, settings in found.items():
        for name in ("DATABASE_URL", "MIGRATE_URL"):
            if not (url := getattr(settings, name.lower())):
                continue
            with suppress(psycopg.Error):  # told already
                parts = _parts(url, environ)
                user, host = parts.get("user", ""), parts.get("host", "").lower()
                here = is_here(host) and not host.startswith("/")
                server = ("localhost" if here else host, parts.get("port", "5432"))
                database = parts.get("dbname", user)
                its = owners.setdefault(("database", database, *server), service)
                whose = owners.setdefault(("role", user, *server), service)
                if {its, whose} != {service}:
                    what, other = ("", its) if its != service else ("its role ", whose)
                    yield Weakness(
                        f"RESTOCK_{service.upper()}_{name}",
                        f"{what}is {other}'s too: each service has a database and a role of its "
                        "own",
                    )


def _keys(found: Mapping[str, Any]) -> Iterator[Weakness]:
    """A key has to be known to all who keep keys before it signs."""
    if not {"auth", "gateway"} <= set(found):
        return
    ahead, auth = found["auth"].keys_ahead_seconds, found["auth"]
    least = 2 * (found["gateway"].keys_seconds + auth.keys_reload_seconds + KEYS_FRESH_S)
    if ahead < least:
        yield Weakness(
            "RESTOCK_AUTH_KEYS_AHEAD_SECONDS",
            f"a key may sign before everybody knows it, and its tokens be refused: {least:.0f} or "
            "more",
            refused=False,
        )


def _operator(environ: Mapping[str, str]) -> Iterator[Weakness]:
    if password := environ.get(OPERATOR_PASSWORD):
        yield from _password(OPERATOR_PASSWORD, password, "operator")
