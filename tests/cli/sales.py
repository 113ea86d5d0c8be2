"""Three days of an invented shop, and what a few lines of plain Python say must come of them."""

import csv
import io
import random
from dataclasses import dataclass
from decimal import Decimal

HEAD = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
CODES = ["T1", "t1", "C20", "M-7", "BOX", "POST", "K9", "ret"]


def _days(days: int, rows_a_day: int, codes: list[str]) -> list[str]:
    chance = random.Random(7)
    texts = []
    for day in range(1, days + 1):
        rows = []
        for number in range(rows_a_day):
            code = chance.choice(codes)
            back = code == "ret" or chance.random() < 0.15
            quantity = -chance.randint(1, 9) if back else chance.choice([1, 1, 2, 3, 6, 12, 24])
            invoice = f"{'C' if back else ''}{day}{number:03}"
            when = f"2024-05-0{day} {8 + number * 10 // rows_a_day:02}:{number % 60:02}:00"
            rows.append(f'{invoice},{code},"{code}, a thing",{quantity},{when},1.25,,Here\n')
        texts.append(HEAD + "".join(rows))
    return texts


SALES = _days(3, 60, CODES)


def many_sales() -> list[str]:
    """A week of a larger shop: 9,000 rows of 400 items."""
    return _days(6, 1500, [*CODES, *(f"{number:05}" for number in range(400))])


@dataclass
class Expectation:
    rows: int
    moved: int
    refused: int
    alerts: dict[str, int]
    stock: dict[str, Decimal]


def expectation(texts: list[str] = SALES) -> Expectation:
    """Integers only, no code of the product."""
    rows = [
        (row["StockCode"], int(row["Quantity"]))
        for text in texts
        for row in csv.DictReader(io.StringIO(text))
    ]
    sold: dict[str, int] = {}
    for code, quantity in rows:
        sold[code] = sold.get(code, 0) + (quantity if quantity > 0 else 0)
    stock = {code: -(-3 * total // 4) for code, total in sold.items()}
    floor = {code: stock[code] // 4 if sold[code] else None for code in stock}
    alerts = {"low_stock": 0, "out_of_stock": 0, "back_in_stock": 0}
    refused = 0
    for code, quantity in rows:
        before, after = stock[code], stock[code] - quantity
        if after < 0:
            refused += 1
            continue
        stock[code] = after
        low = floor[code]
        alerts["low_stock"] += low is not None and before > low >= after
        alerts["out_of_stock"] += before > 0 == after
        alerts["back_in_stock"] += before <= (low or 0) < after
    return Expectation(
        rows=len(rows),
        moved=len(rows) - refused,
        refused=refused,
        alerts=alerts,
        stock={code: Decimal(quantity) for code, quantity in stock.items()},
    )
