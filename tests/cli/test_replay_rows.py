"""Reading recorded sales, and the rule by which items open."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from restock.cli.recorded_sales import UnreadableSales, read_recording

HEAD = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice\n"


def recording_of(directory: Path, *contents: str):
    paths = []
    for number, content in enumerate(contents):
        path = directory / f"{number}.csv"
        path.write_text(HEAD + content, encoding="utf-8")
        paths.append(path)
    return read_recording(paths)


def test_items_open_by_the_rule(tmp_path):
    rows = "1,A,Tea,7,2024-05-01 08:00:00,1\n1,A,Tea,3,2024-05-01 08:01:00,1\n"
    back = "2,A,Tea,-4,2024-05-02 08:00:00,1\n2,B,Cup,-2,2024-05-02 08:00:00,1\n"
    recording = recording_of(tmp_path, rows, back)
    assert [(o.code, o.name, o.stock, o.threshold) for o in recording.openings] == [
        ("A", "Tea", 8, 2),  # sold 10: 7.5 up, 2.0 down
        ("B", "Cup", 0, None),
    ]


@pytest.mark.parametrize(
    ("sold", "stock", "threshold"), [(1, 1, 0), (2, 2, 0), (5, 4, 1), (100, 75, 18), (101, 76, 19)]
)
def test_stock_is_rounded_up_and_the_threshold_down(tmp_path, sold, stock, threshold):
    opening = recording_of(tmp_path, f"1,A,Tea,{sold},2024-05-01,1\n").openings[0]
    assert (opening.stock, opening.threshold) == (stock, threshold)


def test_codes_are_taken_as_written_and_named_by_their_first_description(tmp_path):
    recording = recording_of(
        tmp_path, "1,a,,1,2024-05-01,1\n1,A,,1,2024-05-01,1\n1,a, Tea ,1,2024-05-01,1\n"
    )
    assert [(o.code, o.name) for o in recording.openings] == [("a", "Tea"), ("A", "A")]


def test_a_row_has_the_same_key_wherever_its_file_lies(tmp_path):
    rows = "1,A,Tea,1.5,2024-05-01 08:00:00,1\n1,A,Tea,1,2024-05-01 08:00:00,1\n"
    first = recording_of(tmp_path, rows).sales
    (tmp_path / "elsewhere").mkdir()
    second = recording_of(tmp_path / "elsewhere", rows).sales
    assert [sale.key for sale in first] == [sale.key for sale in second]
    assert len({sale.key for sale in first}) == 2
    assert first[0].quantity == Decimal("1.5")
    assert first[0].occurred_at == datetime(2024, 5, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("1,A,Tea,much,2024-05-01,1\n", "line 2: Quantity is 'much'"),
        ("1,A,Tea,NaN,2024-05-01,1\n", "nothing moved"),
        ("1,A,Tea,0,2024-05-01,1\n", "nothing moved"),
        ("1,,Tea,1,2024-05-01,1\n", "StockCode"),
        ("1,A,Tea,1,yesterday,1\n", "line 2: Invalid isoformat"),
        ("1,A\n", "line 2: Quantity is ''"),
    ],
)
def test_a_bad_row_is_told_with_its_place(tmp_path, content, said):
    with pytest.raises(UnreadableSales, match=said):
        recording_of(tmp_path, content)


def test_a_file_given_twice_is_refused(tmp_path):
    rows = "1,A,Tea,1,2024-05-01,1\n"
    with pytest.raises(UnreadableSales, match="same content"):
        recording_of(tmp_path, rows, rows)


@pytest.mark.parametrize(("raw", "said"), [(b"a,b\n1,2\n", "no column"), (b"\xff\xfe", "UTF-8")])
def test_a_file_of_another_kind_is_refused(tmp_path, raw, said):
    path = tmp_path / "other.csv"
    path.write_bytes(raw)
    with pytest.raises(UnreadableSales, match=said):
        read_recording([path])
