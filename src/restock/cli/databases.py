"""Where the databases are, for commands that work on them beside the services."""

from pathlib import Path

from restock.engines.failures import EngineError
from restock.engines.local import environment_of
from restock.kernel.settings import ServiceSettings, SettingsError, environment, load


def service_variable(service: str) -> str:
    """The setting that names a service's database as the service's own role."""
    return f"RESTOCK_{service.upper()}_DATABASE_URL"


def owner_variable(service: str) -> str:
    """The setting that names it as the owner of its tables."""
    return f"RESTOCK_{service.upper()}_MIGRATE_URL"


def given_url(service: str, variable: str) -> str:
    """What one of the two settings says; empty where it isn't set. Raises EngineError."""
    try:
        found = load(ServiceSettings, service, {variable: environment().get(variable, "")})
    except SettingsError as error:
        raise EngineError(str(error)) from error
    return found.database_url or found.migrate_url


def owner_url(service: str, data_dir: Path) -> str:
    """A service's database, as the owner of its tables: where settings say, or that of the system
    running on the directory. Raises EngineError.
    """
    variable = owner_variable(service)
    if given := given_url(service, variable):
        return given
    try:
        found = environment_of(data_dir, service).get(variable)
    except EngineError as error:
        raise EngineError(f"{variable} is not set, and {error}") from error
    if not found:
        raise EngineError(
            f"{variable} is missing: the database of {service} as the owner of its tables"
        )
    return found
