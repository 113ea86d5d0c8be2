"""Names of databases and roles, and the URLs made of them.

Each service has a database, an owner role that only migrations use, and a login role that may
connect to that database and to no other, and owns nothing.
"""

from collections.abc import Callable
from urllib.parse import quote

SERVICES = ("auth", "inventory", "notification", "vendor")
SUPERUSER = "restock"
OPERATOR = "operator"  # of NATS: makes streams, handles dead letters
OPERATOR_PASSWORD = "RESTOCK_NATS_OPERATOR_PASSWORD"  # noqa: S105 (a variable's name)

Secret = Callable[[str], str]


def database_of(service: str) -> str:
    return f"restock_{service}"


def login_of(service: str) -> str:
    return f"restock_{service}"


def owner_of(service: str) -> str:
    return f"restock_{service}_owner"


def password_of(role: str, secret: Secret) -> str:
    """The role's password out of the data directory's secrets."""
    return secret(f"postgres.{role}")


def database_url(role: str, database: str, socket_directory: str, secret: Secret) -> str:
    """A URL by way of the Unix socket."""
    host = quote(socket_directory, safe="")
    return f"postgresql://{role}:{password_of(role, secret)}@/{database}?host={host}"


def database_environment(service: str, socket_directory: str, secret: Secret) -> dict[str, str]:
    """What a service's environment says of its database."""
    prefix, name = f"RESTOCK_{service.upper()}", database_of(service)
    return {
        f"{prefix}_DATABASE_URL": database_url(login_of(service), name, socket_directory, secret),
        f"{prefix}_MIGRATE_URL": database_url(owner_of(service), name, socket_directory, secret),
    }


def nats_environment(service: str, url: str, secret: Secret) -> dict[str, str]:
    """What a service's environment says of NATS."""
    return {
        "RESTOCK_NATS_URL": url,
        f"RESTOCK_{service.upper()}_NATS_USER": service,
        f"RESTOCK_{service.upper()}_NATS_PASSWORD": secret(f"nats.{service}"),
    }


def operator_environment(url: str, secret: Secret) -> dict[str, str]:
    """What the operator's own commands need of NATS."""
    return {
        "RESTOCK_NATS_URL": url,
        "RESTOCK_NATS_OPERATOR_USER": OPERATOR,
        OPERATOR_PASSWORD: secret(f"nats.{OPERATOR}"),
    }
