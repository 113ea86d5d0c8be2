"""`restock account create-admin`: what it says when it can't. That it can is a journey."""

import pytest
from click.testing import CliRunner

from restock.cli.account import account
from restock.engines.ports import free_port

GOOD = "ten letters\n"


def refusal(*options: str, password: str, url: str = "") -> str:
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
