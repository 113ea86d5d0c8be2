"""What a sign-in is counted by when it fails, named without the words that strangers type.

A guess is counted by where it came from, and by whom it was for: the e-mail address, or at a
place where the account has been signed in before that account at that place. So guesses from
elsewhere never count against its owner there; those of whoever shares his address (an office, a
VPN, a carrier's NAT) do (decision 0021).
"""

import hmac
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address, ip_network

# Of an IPv6 address this much is one customer's; the rest he may choose.
_NETWORK_BITS = 64


@dataclass(frozen=True, slots=True)
class Guess:
    """The keys (32 bytes each) of what a sign-in may be counted by.

    `address` is where it came from, `email` whom it was for, `place` the two together.
    """

    address: bytes
    email: bytes
    place: bytes


@dataclass(frozen=True, slots=True)
class GuessLimits:
    """How many failed sign-ins of one account and from one address are answered, 0 for any number.

    Then more are refused, for `first` and after each further one for twice as long, at most for
    `longest`.
    """

    account: int
    address: int
    first: timedelta
    longest: timedelta


class Guesses:
    """Makes keys: hashes that only the holder of the secret can make from a guessed word."""

    def __init__(self, secret: bytes, limits: GuessLimits) -> None:
        self.limits = limits
        self._secret = secret

    def of(self, email: str, address: str) -> Guess:
        """The keys of a sign-in for this e-mail address from this network address."""
        # as the database compares them: without case, of ASCII letters only
        who, where = email.encode().lower(), network_of(address).encode()
        return Guess(
            address=self._key(b"address", where),
            email=self._key(b"email", who),
            place=self._key(b"place", who + b"\0" + where),
        )

    def _key(self, kind: bytes, value: bytes) -> bytes:
        return hmac.digest(self._secret, kind + b"\0" + value, "sha256")


def network_of(address: str) -> str:
    """Whose address it is: itself, or the /64 of an IPv6 one; what is no address is itself."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ip_network((int(found), _NETWORK_BITS), strict=False))
