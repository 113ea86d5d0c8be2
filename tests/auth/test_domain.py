"""The rules of auth, without anything running."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from restock.auth.domain import (
    Device,
    Session,
    SessionLimits,
    Verdict,
    access_expiry,
    device_of,
    email_problem,
    judge_refresh,
    name_problem,
    password_problem,
    session_end,
)

BEGUN = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
ROTATED = BEGUN + timedelta(hours=3)
LIMITS = SessionLimits(
    idle=timedelta(days=14), absolute=timedelta(days=90), grace=timedelta(seconds=10)
)
SOON = ROTATED + timedelta(seconds=9)


def a_session(**different: object) -> Session:
    fields: dict[str, object] = {
        "id": UUID(int=1),
        "account_id": UUID(int=2),
        "workspace_id": UUID(int=3),
        "counter": 5,
        "device": Device("curl", "192.0.2.1"),
        "created_at": BEGUN,
        "rotated_at": ROTATED,
        "last_used_at": ROTATED,
        "access_until": ROTATED + timedelta(minutes=15),
        "ended_at": None,
    }
    return Session(**(fields | different))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("counter", "now", "verdict"),
    [
        (5, SOON, Verdict.ROTATE),
        (5, ROTATED + timedelta(days=13), Verdict.ROTATE),
        (4, ROTATED, Verdict.REPEAT),
        (4, SOON, Verdict.REPEAT),
        (4, ROTATED + timedelta(seconds=10), Verdict.THEFT),
        (4, ROTATED + timedelta(days=1), Verdict.THEFT),
        (3, ROTATED, Verdict.THEFT),
        (0, SOON, Verdict.THEFT),
        (6, SOON, Verdict.THEFT),
        (5, ROTATED + timedelta(days=14), Verdict.REFUSE),
        (4, ROTATED + timedelta(days=14), Verdict.REFUSE),
    ],
)
def test_a_refresh_is_judged_by_its_number_and_its_moment(
    counter: int, now: datetime, verdict: Verdict
) -> None:
    assert judge_refresh(a_session(), counter, now, LIMITS) is verdict


@pytest.mark.parametrize("counter", [3, 4, 5, 6])
def test_no_token_revives_an_ended_session(counter: int) -> None:
    assert judge_refresh(a_session(ended_at=SOON), counter, SOON, LIMITS) is Verdict.REFUSE


def test_a_session_in_daily_use_is_over_all_the_same_in_the_end() -> None:
    day = BEGUN + timedelta(days=90)
    used = a_session(last_used_at=day - timedelta(hours=1), rotated_at=day - timedelta(hours=1))
    assert session_end(used.created_at, used.last_used_at, LIMITS) == day
    last_moment = day - timedelta(microseconds=1)
    assert judge_refresh(used, 5, last_moment, LIMITS) is Verdict.ROTATE
    assert judge_refresh(used, 5, day, LIMITS) is Verdict.REFUSE


def test_an_access_token_does_not_outlive_its_session() -> None:
    life = timedelta(minutes=15)
    assert access_expiry(BEGUN, ROTATED, life, LIMITS) == ROTATED + life
    late = BEGUN + timedelta(days=90) - timedelta(minutes=5)
    assert access_expiry(BEGUN, late, life, LIMITS) == BEGUN + timedelta(days=90)


def test_an_access_token_ends_on_a_whole_second() -> None:
    issued = ROTATED.replace(microsecond=999_999)
    expiry = access_expiry(BEGUN, issued, timedelta(minutes=15), LIMITS)
    assert expiry == ROTATED + timedelta(minutes=15)


@pytest.mark.parametrize(
    "email",
    [
        "ada@example.org",
        "Ada.Lovelace+stock@mail.example.co.uk",
        "o'brien@example.ie",
        "a@b.cd",
        "x_y-z@xn--mller-kva.example",
        "1@2.example",
        "a" * 64 + "@example.org",
    ],
)
def test_addresses_in_use_are_accepted(email: str) -> None:
    assert email_problem(email) is None


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "ada@",
        "@example.org",
        "ada@localhost",
        "ada@example..org",
        "ada@.org",
        ".ada@example.org",
        "ada.@example.org",
        "a..b@example.org",
        "a b@example.org",
        " ada@example.org",
        "ada@example.org ",
        "ada@example.org\n",
        "ada@exam ple.org",
        "ada@-example.org",
        "ada@example-.org",
        "ada@192.0.2.1",
        "ada@[192.0.2.1]",
        '"ada"@example.org',
        "ada@b@example.org",
        "Ada <ada@example.org>",
        "ada@ex_ample.org",
        "adä@example.org",
        "ada@exämple.org",
        "\uff41da@example.org",
        # what matches k, s and i where letter case is ignored beyond ASCII
        "\u212aada@example.org",
        "ada@\u212aexample.org",
        "ada\u017f@example.org",
        "ada@example\u017f.org",
        "ada@examp\u0131e.org",
        "ada\u0131@example.org",
        "ada\u0130@example.org",
        "ada@example.org\r\nBcc: x",
        "a" * 65 + "@example.org",
        "ada@" + "e" * 64 + ".org",
        "ada@" + "e.e" * 70 + ".org",
    ],
)
def test_what_is_no_address_is_named_as_such(email: str) -> None:
    assert email_problem(email)


@pytest.mark.parametrize("name", ["A", "Ada Lovelace", "Ünal ☕", "x" * 200])
def test_a_name_is_any_line(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize("name", ["", "x" * 201, "a\n", "\ra", "a\tb", "\x1b[31m", "\0", "\x7f"])
def test_what_is_no_line_is_no_name(name: str) -> None:
    assert name_problem(name)


@pytest.mark.parametrize(("length", "good"), [(9, False), (10, True), (128, True), (129, False)])
def test_a_password_has_10_to_128_characters(length: int, good: bool) -> None:
    assert (password_problem("é" * length) is None) is good


def test_a_device_is_kept_short_and_printable() -> None:
    assert device_of("Mozilla/5.0\x1b[31m\r\n" + "x" * 500, "192.0.2.1") == Device(
        ("Mozilla/5.0[31m" + "x" * 500)[:200], "192.0.2.1"
    )
    assert device_of(None, None) == Device("", "")
