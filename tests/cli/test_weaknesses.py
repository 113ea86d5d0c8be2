"""`restock check` refuses what gives something away, and `restock up` says what it opens."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from restock.cli.addresses import plan
from restock.cli.check import check
from restock.cli.exposure import exposure
from restock.kernel.settings import environment

DATABASE = "RESTOCK_AUTH_DATABASE_URL"
OWNER = "RESTOCK_AUTH_MIGRATE_URL"
LONG = "b4tQ9xLw2pZr"
NATS = {f"RESTOCK_{name}_NATS_PASSWORD": LONG for name in ("AUTH", "INVENTORY", "VENDOR")}
NATS |= {"RESTOCK_NOTIFICATION_NATS_PASSWORD": LONG}
SOUND = f"postgresql://restock_auth:{LONG}@db.example/restock_auth?sslmode=verify-full"
VENDORS = DATABASE.replace("AUTH", "VENDOR")
NO_PASSWORD = SOUND.replace(f":{LONG}", "")
OWNED = SOUND.replace("restock_auth:", "restock_auth_owner:")
FAR_NATS = {"RESTOCK_NATS_URL": "tls://nats.example:4222", **NATS}

# settings, the variable named, words of what is said
REFUSED = [
    ({"RESTOCK_AUTH_HOST": "0.0.0.0"}, "RESTOCK_AUTH_HOST", "past the gateway"),  # noqa: S104
    ({"RESTOCK_GATEWAY_HOST": "::"}, "RESTOCK_GATEWAY_HOST", "past the gateway"),
    ({"RESTOCK_GATEWAY_LISTEN_HOST": "10.0.0.7"}, "RESTOCK_GATEWAY_LISTEN_HOST", "without TLS"),
    ({DATABASE: SOUND.partition("?")[0]}, DATABASE, "without TLS"),
    ({DATABASE: SOUND.replace("verify-full", "prefer")}, DATABASE, "without TLS"),
    ({DATABASE: SOUND.replace("verify-full", "disable")}, DATABASE, "without TLS"),
    ({DATABASE: NO_PASSWORD}, DATABASE, "there is no password"),
    ({DATABASE: SOUND.replace(LONG, "secret")}, DATABASE, "can be guessed"),
    ({DATABASE: SOUND.replace(LONG, "restock_auth")}, DATABASE, "can be guessed"),
    ({DATABASE: SOUND.replace("restock_auth:", "postgres:")}, DATABASE, "may do everything"),
    ({DATABASE: OWNED, OWNER: OWNED}, OWNER, "no wall between tenants"),
    ({DATABASE: SOUND, VENDORS: SOUND}, "VENDOR", ": is auth's too"),
    ({DATABASE: SOUND, VENDORS: f"{SOUND}&application_name=a"}, "VENDOR", ": is auth's too"),
    ({DATABASE: SOUND, VENDORS: SOUND.replace("db.", "DB.")}, "VENDOR", ": is auth's too"),
    ({DATABASE: SOUND, VENDORS: SOUND.replace("le/", "le:5432/")}, "VENDOR", ": is auth's too"),
    ({DATABASE: SOUND, VENDORS: SOUND.replace("auth:", "vendor:")}, "VENDOR", ": is auth's too"),
    ({DATABASE: SOUND, VENDORS: SOUND.replace("auth?", "vendor?")}, "VENDOR", "its role is auth"),
    ({DATABASE: SOUND.replace("restock_auth:", "restock:")}, DATABASE, "may do everything"),
    ({DATABASE: NO_PASSWORD, "PGPASSWORD": "secret"}, DATABASE, "can be guessed"),
    ({DATABASE: SOUND.partition("?")[0], "PGSSLMODE": "prefer"}, DATABASE, "without TLS"),
    ({DATABASE: SOUND.replace(LONG, "se/cr#et")}, DATABASE, "%2F"),
    (FAR_NATS | {"RESTOCK_NATS_URL": "nats://nats.example"}, "RESTOCK_NATS_URL", "without TLS"),
    (FAR_NATS | {"RESTOCK_NATS_URL": "nats.example:4222"}, "RESTOCK_NATS_URL", "without TLS"),
    ({"RESTOCK_NATS_URL": "nats://auth:c4n/ary@nats.example"}, "RESTOCK_NATS_URL", "%2F"),
    (FAR_NATS | {"RESTOCK_AUTH_NATS_PASSWORD": ""}, "AUTH_NATS_PASSWORD", "no password"),
    (FAR_NATS | {"RESTOCK_AUTH_NATS_PASSWORD": "short"}, "AUTH_NATS_PASSWORD", "can be guessed"),
    ({"RESTOCK_NATS_OPERATOR_PASSWORD": "operator"}, "OPERATOR_PASSWORD", "can be guessed"),
    ({"RESTOCK_JWKS_URL": "http://auth.example/jwks"}, "RESTOCK_JWKS_URL", "plain http"),
    ({"RESTOCK_INVENTORY_URL": "http://stock.example"}, "RESTOCK_INVENTORY_URL", "plain http"),
    ({"RESTOCK_GATEWAY_AUTH_UPSTREAM": "10.0.0.7:3100"}, "AUTH_UPSTREAM", "without TLS"),
    ({"RESTOCK_TOKEN_MINUTES": "45"}, "RESTOCK_TOKEN_MINUTES", "45 minutes"),
    ({"RESTOCK_TOKEN_MINUTES": "600"}, "RESTOCK_TOKEN_MINUTES", "<= 60"),
    ({"RESTOCK_GATEWAY_RATE_LOGIN": "0"}, "RATE_LOGIN", "switched off"),
    ({"RESTOCK_GATEWAY_RATE_ADDRESS": "0"}, "RATE_ADDRESS", "switched off"),
    ({"RESTOCK_GATEWAY_RATE_ACCOUNT": "0"}, "RATE_ACCOUNT", "switched off"),
    ({"RESTOCK_AUTH_GUESSES_ACCOUNT": "0"}, "GUESSES_ACCOUNT", "guessed without end"),
    ({"RESTOCK_GATEWAY_ORIGINS": "*"}, "RESTOCK_GATEWAY_ORIGINS", "must be https"),
    ({"RESTOCK_GATEWAY_ORIGINS": "https://*.example"}, "RESTOCK_GATEWAY_ORIGINS", "are exact"),
]
# What two machines on a network of their own may do; everything else stays refused.
PRIVATE = {"past the gateway", "without TLS", "plain http"}
WARNED = [
    ({"RESTOCK_LOG_LEVEL": "debug"}, "RESTOCK_LOG_LEVEL"),
    ({"RESTOCK_TOKEN_MINUTES": "20"}, "RESTOCK_TOKEN_MINUTES"),
    ({"RESTOCK_AUTH_KEYS_DAYS": "0"}, "RESTOCK_AUTH_KEYS_DAYS"),
    ({"RESTOCK_AUTH_KEYS_AHEAD_SECONDS": "60"}, "RESTOCK_AUTH_KEYS_AHEAD_SECONDS"),
    ({"RESTOCK_GATEWAY_ORIGINS": "http://shop.example"}, "RESTOCK_GATEWAY_ORIGINS"),
    ({"RESTOCK_GATEWAY_TRUST_REQUEST_ID": "true"}, "RESTOCK_GATEWAY_TRUST_REQUEST_ID"),
]
FINE = [
    {},
    {DATABASE: SOUND, OWNER: OWNED},
    {DATABASE: SOUND.replace("verify-full", "require")},
    {DATABASE: SOUND, VENDORS: SOUND.replace("auth", "vendor")},
    {DATABASE: SOUND, VENDORS: SOUND.replace("db.", "db2.")},
    {DATABASE: SOUND.partition("?")[0], "PGSSLMODE": "verify-full"},
    {DATABASE: NO_PASSWORD, "PGPASSWORD": LONG},
    {DATABASE: NO_PASSWORD, "PGPASSFILE": "/etc/restock/passwords"},
    {DATABASE: f"postgresql://restock_auth:{LONG}@/restock_auth?host=%2Frun%2Frestock"},
    {DATABASE: f"postgresql://restock_auth:{LONG}@127.0.0.1/restock_auth"},
    {DATABASE: f"postgresql://restock_auth:{LONG}%2F%40%23@[::1]:5432/restock_auth"},
    FAR_NATS,
    {"RESTOCK_GATEWAY_LISTEN_HOST": "0.0.0.0", "RESTOCK_GATEWAY_TRUSTED_HOPS": "1"},  # noqa: S104
    {"RESTOCK_GATEWAY_ORIGINS": "https://shop.example,http://localhost:5173"},
    {"RESTOCK_JWKS_URL": "https://auth.example/jwks"},
]


def checked(settings: dict[str, str], *words: str, data_dir: str = "none") -> Result:
    empty = {name: None for name in environment() if name.startswith(("RESTOCK_", "PG"))}
    return CliRunner(env=empty | settings).invoke(check, ["--data-dir", data_dir, *words])


@pytest.mark.parametrize(("settings", "variable", "said"), REFUSED)
def test_what_is_weak_is_refused(settings: dict[str, str], variable: str, said: str) -> None:
    result = checked(settings)
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if variable in line and said in line]
    assert result.stderr.rstrip().endswith("not acceptable")
    private = checked(settings, "--private-network")
    assert private.exit_code == (0 if said in PRIVATE else 1), line


@pytest.mark.parametrize(("settings", "variable"), WARNED)
def test_what_is_doubtful_is_said(settings: dict[str, str], variable: str) -> None:
    result = checked(settings)
    assert result.exit_code == 0
    assert f"warning: {variable}: " in result.stderr


@pytest.mark.parametrize("settings", FINE)
def test_what_is_sound_is_said_nothing_of(settings: dict[str, str]) -> None:
    result = checked(settings)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == "all settings are acceptable\n"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://restock_auth:c4n/ary@db.example/restock_auth",
        "postgresql://restock_auth:5432/c4n@db.example/restock_auth",
        "postgresql://restock_auth:c4n#ary@db.example/restock_auth",
        "postgresql://restock_auth:c4n?ary@db.example/restock_auth",
        "postgresql://restock_auth:pass@c4n@db.example/restock_auth",
    ],
)
def test_a_password_that_is_not_escaped_is_not_repeated(url: str) -> None:
    for variable in (DATABASE, OWNER):
        result = checked({variable: url})
        assert result.exit_code == 1
        assert f"{variable}: must be a URL" in result.stderr
        assert "c4n" not in result.output


@pytest.mark.parametrize("name", ["secrets.json", "system.json", "nats/nats.json"])
def test_secrets_that_others_may_read(tmp_path: Path, name: str) -> None:
    tmp_path.chmod(0o710)
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.touch(mode=0o600)
    assert checked({}, data_dir=str(tmp_path)).exit_code == 0
    file.chmod(0o640)
    refused = checked({}, data_dir=str(tmp_path))
    assert refused.exit_code == 1
    assert f"{file}: holds secrets, and others may read it: chmod 600" in refused.stderr
    file.chmod(0o600)
    tmp_path.chmod(0o755)
    assert "chmod 700" in checked({}, data_dir=str(tmp_path)).stderr


def test_nothing_is_open_unless_told() -> None:
    assert list(exposure(plan({}, offset=0), {})) == []
    assert list(exposure(plan({}, offset=0, host="::1"), {})) == []


def test_what_up_opens_is_said() -> None:
    everywhere = "0.0.0.0"  # noqa: S104
    said = list(exposure(plan({}, offset=0, host=everywhere), {}))
    assert said[:2] == [
        "open to others:",
        "  0.0.0.0:3000  the gateway: the API, sockets, /docs and /health "
        "(whoever reaches any address of this machine)",
    ]
    assert said[2].startswith("only on this machine: auth, inventory, notification, vendor, ")
    assert said[3].startswith("there is no TLS: ")
    assert "RESTOCK_GATEWAY_TRUSTED_HOPS=1" in said[3]
    behind = list(
        exposure(plan({}, offset=0, host=everywhere), {"RESTOCK_GATEWAY_TRUSTED_HOPS": "1"})
    )
    assert "TRUSTED_HOPS=1" not in behind[3]
    service = list(exposure(plan({"RESTOCK_VENDOR_HOST": "10.0.0.7"}, offset=0), {}))
    assert service[1].startswith("  10.0.0.7:3103  vendor itself, past the gateway")
    assert "unset RESTOCK_VENDOR_HOST" in service[1]
