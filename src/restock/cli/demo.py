"""`restock demo`: a workspace with things to look at, made through the API.

Run again with the same account it makes only what isn't there: what it sends carries keys and
names that follow from the account.
"""

import asyncio
import hashlib
from decimal import Decimal
from importlib.resources import files
from uuid import UUID

import click
import msgspec

from restock.cli.sign_in import Account, asked_for, gateway_options, sign_in
from restock.client import ApiProblem, Gateway, GatewayUnreachable
from restock.client.shapes import Item, Vendor

PATIENCE = 60.0  # seconds for one call while something is away
ALERT_PATIENCE = 30.0  # seconds for the alert to arrive
SHOWN = 10  # newest notifications told


class SampleItem(msgspec.Struct, frozen=True, rename="camel"):
    """An item of the sample trader."""

    sku: str
    name: str
    category: str
    unit: str
    quantity: Decimal
    min_threshold: Decimal | None


class SampleVendor(msgspec.Struct, frozen=True):
    """A vendor of the sample trader; its e-mail follows from the account."""

    name: str
    phone: str
    category: str
    address: str
    city: str


class SampleMovement(msgspec.Struct, frozen=True):
    """One movement of the sample trader's day."""

    sku: str
    delta: Decimal
    reason: str
    note: str


class SampleRequest(msgspec.Struct, frozen=True):
    """What the sample trader asks a vendor for."""

    sku: str
    vendor: str
    quantity: Decimal
    message: str


class Trader(msgspec.Struct, frozen=True):
    """The sample: `demo_trader.json` beside this file."""

    workspace: str
    items: list[SampleItem]
    vendors: list[SampleVendor]
    movements: list[SampleMovement]
    request: SampleRequest


class Summary(msgspec.Struct, frozen=True, rename="camel"):
    """What `--json` prints."""

    url: str
    account: Account
    vendor_account: Account
    items: int
    vendors: int
    request: UUID | None
    alerts: list[str]
    docs: str


@click.command()
@gateway_options
def demo(url: str, email: str | None, password: str | None, as_json: bool) -> None:
    """Fill a workspace with things to look at: a food trader's items, two vendors, a request to
    one of them and a low-stock alert. Then say what to open."""
    wanted = asked_for(email, password)
    try:
        summary = asyncio.run(_run(url, wanted))
    except (ApiProblem, GatewayUnreachable) as error:
        raise click.ClickException(str(error)) from error
    click.echo(msgspec.json.encode(summary).decode() if as_json else _told(summary))


def sample() -> Trader:
    """The trader the demo shows."""
    raw = files("restock.cli").joinpath("demo_trader.json").read_bytes()
    return msgspec.json.decode(raw, type=Trader)


async def _run(url: str, wanted: tuple[str, str] | None) -> Summary:
    trader = sample()
    async with Gateway(url, patience=PATIENCE) as buyer, Gateway(url, patience=PATIENCE) as seller:
        account = await sign_in(buyer, wanted, name=trader.workspace, prefix="demo")
        password = account.password or (wanted[1] if wanted else "")
        tag = hashlib.sha256(account.email.casefold().encode()).hexdigest()[:8]
        vendor_account = await sign_in(
            seller,
            (f"vendor-{tag}@restock.example", password),
            name=trader.vendors[0].name,
            prefix="vendor",
        )
        vendors = await _provide_vendors(seller, trader.vendors, tag)
        items = await _provide_items(buyer, trader.items)
        for place, moved in enumerate(trader.movements):
            item = items[moved.sku]
            await buyer.inventory.add_movement(
                item.id, moved.delta, moved.reason, note=moved.note, key=f"demo-{item.id}-{place}"
            )
        request = await _contact(buyer, trader.request, vendors, items)
        alerts = await _first_alerts(buyer)
    return Summary(
        url=buyer.url,
        account=account,
        vendor_account=vendor_account,
        items=len(items),
        vendors=len(vendors),
        request=request,
        alerts=alerts,
        docs=f"{buyer.url}/docs",
    )


async def _provide_items(gateway: Gateway, wanted: list[SampleItem]) -> dict[str, Item]:
    """The items by sku, those that are there already as they are."""
    items = await _items(gateway)
    for entry in wanted:
        if entry.sku in items:
            continue
        try:
            items[entry.sku] = await gateway.inventory.create_item(
                name=entry.name,
                quantity=entry.quantity,
                min_threshold=entry.min_threshold,
                unit=entry.unit,
                category=entry.category,
                sku=entry.sku,
            )
        except ApiProblem as problem:
            if problem.code != "inventory.sku_taken":
                raise
            items = await _items(gateway)  # another demo makes them at the same time
    return {entry.sku: items[entry.sku] for entry in wanted}


async def _items(gateway: Gateway) -> dict[str, Item]:
    return {item.sku: item async for item in gateway.inventory.items() if item.sku}


async def _provide_vendors(
    gateway: Gateway, wanted: list[SampleVendor], tag: str
) -> dict[str, Vendor]:
    """The vendors by name, those of an earlier demo as they are."""
    vendors: dict[str, Vendor] = {}
    for entry in wanted:
        email = f"{entry.name.split()[0].lower()}-{tag}@restock.example"
        vendor = await _known(gateway, entry.name, email)
        if vendor is None:
            try:
                vendor = await gateway.vendors.register_vendor(
                    name=entry.name,
                    email=email,
                    phone=entry.phone,
                    category=entry.category,
                    address=entry.address,
                    city=entry.city,
                )
            except ApiProblem as problem:
                vendor = await _known(gateway, entry.name, email)
                if problem.code != "vendor.email_taken" or vendor is None:
                    raise
        vendors[entry.name] = vendor
    return vendors


async def _known(gateway: Gateway, name: str, email: str) -> Vendor | None:
    found = [v async for v in gateway.vendors.vendors(search=name) if v.email == email]
    return found[0] if found else None


async def _contact(
    gateway: Gateway, request: SampleRequest, vendors: dict[str, Vendor], items: dict[str, Item]
) -> UUID | None:
    """The request's id; None where one of an earlier demo is still open."""
    try:
        made = await gateway.vendors.contact(
            vendors[request.vendor].id,
            item_id=items[request.sku].id,
            quantity=request.quantity,
            message=request.message,
        )
    except ApiProblem as problem:
        if problem.code != "vendor.request_open":
            raise
        return None
    return made.id


async def _first_alerts(gateway: Gateway) -> list[str]:
    """What the account was told; waits for the first alert, which comes within a second."""
    now = asyncio.get_running_loop().time
    deadline = now() + ALERT_PATIENCE
    while True:
        told = [row.message async for row in gateway.notifications.notifications()]
        if told or now() > deadline:
            return told[:SHOWN]
        await asyncio.sleep(0.2)


def _told(summary: Summary) -> str:
    email = summary.account.email
    password = summary.account.password or "…"
    shown = summary.account.password or "the one you gave"
    alerts = "\n".join(f"    {alert}" for alert in summary.alerts) or "    none arrived"
    request = summary.request or "still open from before"
    login = msgspec.json.encode({"email": email, "password": password}).decode()
    return f"""\
{summary.items} items, {summary.vendors} vendors, a request ({request}), and what came in:
{alerts}

account   {email}, password {shown}
vendors   {summary.vendor_account.email}, the same password

Open {summary.docs} or go on with curl:

TOKEN=$(curl -s {summary.url}/api/auth/login -H 'content-type: application/json' \\
  -d '{login}' | python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])')
curl -s {summary.url}/api/inventory/items/low-stock -H "authorization: Bearer $TOKEN"
curl -s {summary.url}/api/notifications -H "authorization: Bearer $TOKEN"
curl -s {summary.url}/api/vendors/requests -H "authorization: Bearer $TOKEN"
"""
