"""What is read off the wire, and what is refused."""

from decimal import Decimal
from typing import Any

import pytest

from restock.kernel.wire import InvalidBody, MalformedBody, Quantity, Text, Wire, decode, encode
from restock.kernel.wire import Line as OneLine


class Line(Wire):
    amount: Quantity


class Label(Wire):
    label: OneLine


class Order(Wire):
    name: Text
    lines: tuple[Line, ...] = ()
    is_open: bool = False


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5", "5"),
        ("5.0", "5"),
        ("5.000000", "5"),
        ("5.00000000", "5"),
        ("-0", "0"),
        ("1e2", "100"),
        ("0.000001", "0.000001"),
        ("999999999.999999", "999999999.999999"),
        ("-12.5", "-12.5"),
        ("0e-400", "0"),
    ],
)
def test_a_quantity_is_read_digit_by_digit(text: str, number: str) -> None:
    amount = decode(b'{"amount":%s}' % text.encode(), Line).amount
    assert str(amount) == number


@pytest.mark.parametrize(
    "text",
    [
        '"5"',
        '"NaN"',
        "null",
        "true",
        "[]",
        "1e9",
        "1000000000",
        "-1e9",
        "1e400",
        "1e999999999",
        "0.0000001",
        "1.0000001",
        "1.00000000000000000001",
        "1e-400",
        "9" * 400,
        "0." + "3" * 400,
    ],
)
def test_anything_else_is_no_quantity(text: str) -> None:
    with pytest.raises(InvalidBody) as refused:
        decode(b'{"amount":%s}' % text.encode(), Line)
    assert refused.value.errors[0].pointer == "/amount"


def test_quantities_are_written_as_plain_numbers() -> None:
    written = encode([Decimal("5"), Decimal("0.000001"), Decimal("123456789.123456")])
    assert written == b"[5,0.000001,123456789.123456]"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"name":NaN}',
        b'{"name":1e9999999999999999999}',
        b"nope",
        b'{"name":"\xff"}',
        b"[" * 500_000,
        b"[" * 500_000 + b"]" * 500_000,
        b'{"name":5,',
        b'{"name":"\\ud800"}',
        b'{"name":"\x00"}',
        b'{"lines":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
        b'{"name":"a","name":"a"}',
        b'{"name":"a","\\u006eame":"a"}',  # the same name, written otherwise
        b'{"name":"a","lines":[{"amount":1},{"amount":1,"amount":2}]}',
    ],
)
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        decode(body, Order)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"[]", ""),
        (b"{}", "/name"),
        (b'{"name":5}', "/name"),
        (b'{"name":""}', "/name"),
        (b'{"name":"a","role":1}', "/role"),
        (b'{"name":"a","isOpen":"true"}', "/isOpen"),
        (b'{"name":"a","isOpen":1}', "/isOpen"),
        (b'{"name":"a","lines":[{"amount":1},{"amount":"1"}]}', "/lines/1/amount"),
        (b'{"name":"a","lines":[{}]}', "/lines/0/amount"),
        (b'{"name":"a\\u0000b"}', "/name"),
        (b'{"name":"' + b"x" * 201 + b'"}', "/name"),
    ],
)
def test_json_of_another_shape_is_invalid_and_says_where(body: bytes, pointer: str) -> None:
    with pytest.raises(InvalidBody) as refused:
        decode(body, Order)
    assert [error.pointer for error in refused.value.errors] == [pointer]


@pytest.mark.parametrize("text", ["a\nb", "a\n", "\t", "a\x7f"])
def test_a_line_is_one_line_and_says_so(text: str) -> None:
    with pytest.raises(InvalidBody) as refused:
        decode(encode({"label": text}), Label)
    assert refused.value.errors[0].message.startswith("Expected one line of text")
    assert decode(encode({"label": "crème"}), Label).label == "crème"


def test_a_backslash_before_u0000_is_text() -> None:
    assert decode(rb'{"name":"a\\u0000"}', Order).name == "a\\u0000"


def test_a_decoded_body_keeps_its_types() -> None:
    order: Any = decode(b'{"name":"a","lines":[{"amount":1.5}],"isOpen":true}', Order)
    assert order == Order(name="a", lines=(Line(amount=Quantity("1.5")),), is_open=True)
