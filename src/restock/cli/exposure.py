"""What `restock up` opens to others than this machine, said before it does."""

from collections.abc import Iterator, Mapping

from restock.cli.addresses import Address, Addresses, is_here


def exposure(addresses: Addresses, environ: Mapping[str, str]) -> Iterator[str]:
    """Lines for people: who reaches what. None when all of it is this machine's alone."""
    opened = [address for address in addresses if not is_here(address.host)]
    if not opened:
        return
    yield "open to others:"
    for address in opened:
        yield f"  {address}  {_what(address, addresses)} ({_who(address.host)})"
    closed = [address.what for address in addresses if address not in opened]
    yield f"only on this machine: {', '.join(dict.fromkeys(closed))}, and our PostgreSQL by a file"
    if addresses.public in opened:
        if environ.get("RESTOCK_GATEWAY_TRUSTED_HOPS", "0") in ("", "0"):
            yield (
                "there is no TLS: passwords and tokens can be read on their way. Put a proxy that "
                "ends TLS in front, let others reach only that, and set "
                "RESTOCK_GATEWAY_TRUSTED_HOPS=1"
            )
        else:
            yield (
                "there is no TLS here: see that others reach only the proxy that "
                "RESTOCK_GATEWAY_TRUSTED_HOPS speaks of, since it is believed who calls"
            )
        yield "anybody who reaches it may register; `restock check` says what else is weak"


def _what(address: Address, addresses: Addresses) -> str:
    if address is addresses.public:
        return "the gateway: the API, sockets, /docs and /health"
    return (
        f"{address.what} itself, past the gateway and its limits, with /metrics: unset "
        f"{address.host_setting}"
    )


def _who(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104
        return "whoever reaches any address of this machine"
    return f"whoever reaches {host}"
