"""A quantity comes back as it was sent, digit by digit: through JSON, Decimal and PostgreSQL."""

from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.inventory.stockroom import account

MOST = Decimal("999999999.999999")
QUANTITIES = st.decimals(Decimal(0), MOST, places=6)
# the same number as people and programs may write it
SPELLINGS = st.sampled_from(["{:f}", "{:E}", "{:.6f}", "{:.20f}", "{:.16e}"])


def shortest(number: Decimal) -> str:
    """The shortest plain form, from its digits alone."""
    text = f"{number:.6f}"
    return text.rstrip("0").rstrip(".")


@settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(stock=QUANTITIES, counted=QUANTITIES, limit=st.none() | QUANTITIES, spelling=SPELLINGS)
async def test_a_quantity_is_what_was_sent(room, stock, counted, limit, spelling) -> None:
    ada, text = account(), spelling.format
    body = '{"name":"n","unit":"u","category":"c","quantity":%s,"minThreshold":%s}'
    asked = body % (text(stock), "null" if limit is None else text(limit))
    made = await room.ask(ada, "POST", "/items", body=asked.encode())
    assert made.status == 201, made.body
    limit_text = "null" if limit is None else shortest(limit)
    assert f'"quantity":{shortest(stock)},"minThreshold":{limit_text},'.encode() in made.body
    path = f"/items/{made.json['id']}"
    assert (await room.ask(ada, "GET", path)).body == made.body
    delta = counted - stock
    if delta:
        asked = f'{{"reason":"r","delta":{text(delta)}}}'
        moved = await room.ask(ada, "POST", path + "/movements", body=asked.encode())
        assert moved.status == 201, moved.body
        said = '"previousQuantity":%s,"newQuantity":%s,"delta":%s,'
        said %= (shortest(stock), shortest(counted), shortest(delta))
        assert said.encode() in moved.body
    logs = await room.ask(ada, "GET", path + "/logs")
    assert f'"newQuantity":{shortest(counted)},'.encode() in logs.body
    stored = await room.service.fetchval(
        "SELECT quantity::text FROM items WHERE workspace_id = $1", ada.workspace_id
    )
    assert Decimal(stored) == counted
    assert len(Decimal(stored).as_tuple().digits) <= 15
