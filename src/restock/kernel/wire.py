"""What crosses the wire: JSON in camelCase, decoded strictly, quantities exact.

Request shapes descend from `Wire`, answers from `Answer`. A quantity is a JSON number and nothing
else: it is read into a Decimal digit by digit, never through a binary float.
"""

import json
from collections.abc import Hashable
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import Meta

from restock.kernel.faults import FieldError, Invalid, Malformed

T = TypeVar("T")

QUANTITY_DIGITS = 9  # before the point
QUANTITY_LIMIT = 10**QUANTITY_DIGITS
QUANTITY_PLACES = 6

Moment = Annotated[datetime, Meta(tz=True)]
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)

# PostgreSQL's text can't hold the character; `decode` refuses it wherever it stands.
NO_NUL = {"pattern": r"^[^\u0000]*$"}
Text = Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema=NO_NUL)]

# No control character of ASCII; `$` alone would let a line end pass.
ONE_LINE = r"^[^\x00-\x1f\x7f]+$(?!\n)"
Line = Annotated[str, Meta(min_length=1, max_length=200, pattern=ONE_LINE)]


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Parent of every request shape: unknown fields are refused."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Parent of every response shape."""


class Quantity(Decimal):
    """A quantity asked for by a client: |q| < 10^9 with at most 6 decimal places."""


# As the documents say it; the operations refuse the others, each with its own words.
Amount = Annotated[Quantity, Meta(extra_json_schema={"minimum": 0})]
AboveZero = Annotated[Quantity, Meta(extra_json_schema={"exclusiveMinimum": 0})]
Change = Annotated[Quantity, Meta(extra_json_schema={"not": {"const": 0}})]


class MalformedBody(Malformed):
    """What arrived isn't JSON at all, is nested beyond reading, or has a name twice (400)."""


class InvalidBody(Invalid):
    """Well-formed JSON that isn't what is asked for here (422)."""


def encode(content: Any) -> bytes:
    """JSON: Decimals as plain numbers, datetimes RFC 3339, UUIDs as text."""
    return _encoder.encode(content)


def decode(raw: bytes, kind: type[T]) -> T:
    """Read a body of one kind.

    Raises MalformedBody for what isn't JSON, or can be read in more than one way, and InvalidBody,
    with a pointer to the field, for JSON of another shape.
    """
    try:
        decoded: T = _decoder(cast(Hashable, kind)).decode(raw)
        _names_once.decode(raw.decode())
    except msgspec.ValidationError as error:
        _must_be_json(raw)
        raise _invalid(str(error)) from error
    except NOT_JSON as error:
        raise MalformedBody() from error
    if rb"\u0000" in raw:
        _refuse_nul(_must_be_json(raw), "")
    return decoded


def plain(number: Decimal) -> Decimal:
    """The same number in its shortest plain form: 5, not 5.000000 or 5E0."""
    normal = number.normalize()
    is_whole = normal == normal.to_integral_value()
    return normal.quantize(Decimal(1)) if is_whole else normal


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, dec_hook=_read_special, float_hook=_read_number)


def _read_number(digits: str) -> Decimal:
    """A number with all its digits. An exponent beyond what Decimal holds isn't a number to us."""
    try:
        return Decimal(digits)
    except ArithmeticError as error:
        raise ValueError("Expected a smaller exponent") from error


def _read_special(kind: type, value: Any) -> Any:
    if kind is Quantity:
        return read_quantity(value)
    raise TypeError(f"{kind} has no reader")


def read_quantity(value: Any) -> Quantity:
    """A JSON number (int, or Decimal from its digits) as a quantity.

    Raises ValueError, which the decoder reports with the field's place.
    """
    if type(value) is int and -QUANTITY_LIMIT < value < QUANTITY_LIMIT:
        return Quantity(value)  # most are; what follows would find nothing to mend
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("Expected a JSON number")
    number = Decimal(value)
    # the exponent first: quantizing 1e999999999 would build that many digits
    if number.adjusted() >= QUANTITY_DIGITS and number != 0:
        raise ValueError(f"Expected a number below {QUANTITY_LIMIT}")
    if number.adjusted() < -QUANTITY_PLACES and number != 0:
        raise ValueError(f"Expected at most {QUANTITY_PLACES} decimal places")
    if number == 0:
        return Quantity(0)
    if len(number.as_tuple().digits) > 100 or number != round(number, QUANTITY_PLACES):
        raise ValueError(f"Expected at most {QUANTITY_PLACES} decimal places")
    return Quantity(plain(round(number, QUANTITY_PLACES)))


def _refuse_twice(members: list[tuple[str, Any]]) -> None:
    """Of a name that is there twice every reader takes another one: we would the last."""
    if len(members) > 1 and len(dict(members)) != len(members):
        raise ValueError("a name twice")


def _must_be_json(raw: bytes) -> Any:
    try:
        return _reader.decode(raw)
    except NOT_JSON as error:
        raise MalformedBody() from error


def _refuse_nul(value: Any, pointer: str) -> None:
    """PostgreSQL's text can't hold the character, so it is refused at the door."""
    if isinstance(value, str):
        if "\0" in value:
            error = FieldError(pointer, "Expected no NUL character")
            raise InvalidBody(errors=[error])
    elif isinstance(value, dict):
        for name, member in value.items():
            _refuse_nul(name, pointer)
            _refuse_nul(member, f"{pointer}/{_escape(name)}")
    elif isinstance(value, list):
        for position, member in enumerate(value):
            _refuse_nul(member, f"{pointer}/{position}")


def _invalid(message: str) -> InvalidBody:
    """msgspec says ``what - at `$.path[0]` ``; a pointer (RFC 6901) says ``/path/0``."""
    what, _, path = message.partition(" - at `$")
    if repr(ONE_LINE) in what:
        what = "Expected one line of text, without control characters"
    pointer = path.rstrip("`").replace("[", "/").replace("]", "").replace(".", "/")
    for phrase in ("missing required field `", "contains unknown field `"):
        if phrase in what:
            pointer += "/" + _escape(what.split(phrase, 1)[1].rstrip("`"))
    return InvalidBody(errors=[FieldError(pointer, what)])


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


_encoder = msgspec.json.Encoder(decimal_format="number")
_reader = msgspec.json.Decoder(float_hook=_read_number)
# only names count: numbers, of whatever length, stay as they are written
_names_once = json.JSONDecoder(object_pairs_hook=_refuse_twice, parse_int=str, parse_float=str)
