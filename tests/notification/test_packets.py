"""What a client may say, and what we do."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restock.notification import packets
from restock.notification.packets import BadPacket, Message, read_message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", Message("0", "/", None, None)),
        ('0{"token":"x"}', Message("0", "/", None, {"token": "x"})),
        ("0/,{}", Message("0", "/", None, {})),
        ("0/admin", Message("0", "/admin", None, None)),
        ("0/admin?a=b,{}", Message("0", "/admin", None, {})),
        ("1", Message("1", "/", None, None)),
        ("1/admin,", Message("1", "/admin", None, None)),
        ('2["a",1]', Message("2", "/", None, ["a", 1])),
        ('2["a\\n",{"b":"\n"}]'.replace("\n", " "), Message("2", "/", None, ["a\n", {"b": " "}])),
        ('212["a"]', Message("2", "/", "12", ["a"])),
        ('2/admin,12["a"]', Message("2", "/admin", "12", ["a"])),
        ("30[]", Message("3", "/", "0", [])),
    ],
)
def test_what_a_client_may_say(text, message):
    assert read_message(text) == message


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "9", "0[]", "0{", '0"x"', "01{}", "1{}", "11", "2", "2{}", "2[]", "2[1]",
        '2["connect"]', '2["disconnect"]', '2["a"', '2abc["a"]', '2["a"]x',
        "2" + "1" * 16 + '["a"]', "3[]", "31", "31{}", "4{}",
        '51-["a",{"_placeholder":true,"num":0}]', "61-[]", "2" + "[" * 9_000,
        '2["\\ud800"]', "é", "2[NaN]",
    ],
)  # fmt: skip
def test_what_is_no_packet(text):
    with pytest.raises(BadPacket):
        read_message(text)


@given(st.text())
def test_any_text_is_a_packet_or_is_none(text):
    try:
        message = read_message(text)
    except BadPacket:
        return
    assert message.kind in "0123"
    assert message.namespace.startswith("/")


def test_what_we_say():
    assert packets.connected("1-x", None) == b'0{"sid":"1-x"}'
    assert packets.connected("1-x", "5.a") == b'0{"sid":"1-x","pid":"5.a"}'
    assert packets.refusal("/", "No", "a.b") == b'4{"message":"No","data":{"code":"a.b"}}'
    assert packets.refusal("/b", "No") == b'4/b,{"message":"No"}'
    assert packets.acknowledgement("7", {"ok": True}) == b'37[{"ok":true}]'
    assert packets.acknowledgement("7", None) == b"37[]"
    opening = packets.opening("1-x", upgrades=[], interval_s=25, timeout_s=0.5, most=9)
    assert json.loads(opening[1:])["pingTimeout"] == 500
