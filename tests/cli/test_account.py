"""`restock account create-admin`: what it says when it can't. That it can is a journey."""

import pytest
from click.testing import CliRunner

from restock.cli.account import account
from tests.fixtures.ports import free_port

GOOD = "ten letters\n"


def refusal(*options: str, password: str | bytes, url: str = "") -> str:
    result = CliRunner(env={"RESTOCK_AUTH_DATABASE_URL": url}).invoke(
        account, ["create-admin", "root@example.org", "--password-stdin", *options], input=password
    )
    assert result.exit_code == 1, result.output
    return result.stderr


def test_where_nothing_runs_it_says_so(tmp_path):
    assert f"nothing runs on {tmp_path}" in refusal("--data-dir", str(tmp_path), password=GOOD)


@pytest.mark.parametrize("password", ["short\n", "\n", "x" * 200 + "\n"])
def test_a_password_that_registration_would_refuse_is_refused(password):
    assert "characters" in refusal(password=password, url="postgresql://nobody@/nothing")


def test_a_database_that_is_away_is_told():
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    assert "Traceback" not in refusal(password=GOOD, url=url)


def test_which_database_and_why(postgres):
    port = free_port()
    away = refusal(password=GOOD, url=f"postgresql://nobody@127.0.0.1:{port}/nothing")
    assert "the database of RESTOCK_AUTH_DATABASE_URL: " in away
    assert str(port) in away
    wrong = postgres.service_url("auth").replace("restock_auth:", "restock_auth:x", 1)
    assert "password authentication failed" in refusal(password=GOOD, url=wrong)
    assert "RESTOCK_AUTH_DATABASE_URL" in refusal(password=GOOD, url="nonsense")


def test_a_name_that_is_too_long_tells_no_hash(postgres):
    said = refusal("--name", "x" * 300, password=GOOD, url=postgres.service_url("auth"))
    assert "argon2" not in said
    assert "characters" in said


def test_a_password_that_is_not_utf_8():
    assert "not UTF-8" in refusal(password=b"\xff\xfe ten letters\n", url="postgresql://x@/x")
