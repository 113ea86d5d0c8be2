"""The page of events is made from the events themselves."""

import msgspec

from restock.events import Event, auth, inventory, vendor
from restock.gateway.pages import events_page


def test_every_event_and_each_of_its_fields_is_there() -> None:
    page = events_page()
    kinds = [
        kind
        for owner in (auth, inventory, vendor)
        for kind in vars(owner).values()
        if isinstance(kind, type) and issubclass(kind, Event) and "subject" in vars(kind)
    ]
    assert len(kinds) > 9
    for kind in kinds:
        begin = page.index(f'<h3 id="{kind.subject}">')
        section = page[begin : page.index("</table>", begin)]
        for field in msgspec.structs.fields(kind):
            assert f"<code>{field.encode_name}</code>" in section
    assert page.count("<h3") == len(kinds)
    assert "style=" not in page
    assert "<script" not in page
