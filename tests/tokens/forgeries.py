"""Tokens that must not be taken: what a stranger can make, and what only auth's own key could.

A forger has one genuine token, the public keys, and whatever he likes besides. `OF_AUTHS_OWN_KEY`
are signed with auth's private key: no stranger has them, but a mistake in auth might.
"""

import base64
import hashlib
import hmac
import json
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256
LATER = 3600


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@dataclass(frozen=True)
class Genuine:
    """A token that is good everywhere, and the key that signed it."""

    token: str
    key: ec.EllipticCurvePrivateKey

    @property
    def parts(self) -> list[str]:
        return self.token.split(".")

    @property
    def header(self) -> dict[str, Any]:
        return dict(json.loads(decoded(self.parts[0])))

    @property
    def claims(self) -> dict[str, Any]:
        return dict(json.loads(decoded(self.parts[1])))

    @property
    def kid(self) -> str:
        return str(self.header["kid"])

    @property
    def public_jwk(self) -> dict[str, Any]:
        return dict(jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True))

    @property
    def public_pem(self) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def signed(
        self,
        *,
        key: ec.EllipticCurvePrivateKey | None = None,
        header: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """This token with changes, signed by auth's key or another one; None takes a name away."""
        return self.signed_text(
            json.dumps(_changed(self.header, header or {})),
            json.dumps(_changed(self.claims, claims)),
            key=key,
        )

    def signed_text(
        self, header: str, payload: str, *, key: ec.EllipticCurvePrivateKey | None = None
    ) -> str:
        """The same of a header and a payload that are no dictionaries."""
        said = f"{encoded(header.encode())}.{encoded(payload.encode())}"
        der = (key or self.key).sign(said.encode(), ec.ECDSA(hashes.SHA256()))
        numbers = decode_dss_signature(der)
        return f"{said}.{encoded(b''.join(number.to_bytes(32, 'big') for number in numbers))}"

    def with_signature(self, signature: bytes) -> str:
        head, payload, _ = self.parts
        return f"{head}.{payload}.{encoded(signature)}"

    @property
    def signature(self) -> bytes:
        return decoded(self.parts[2])


Forge = Callable[[Genuine], str]


def _changed(found: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (found | changes).items() if value is not None}


def _stranger() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _by_stranger(header: dict[str, Any] | None = None) -> Forge:
    return lambda genuine: genuine.signed(key=_stranger(), header=header, role="admin")


def _by_secret(secret: Callable[[Genuine], bytes], alg: str = "HS256", **header: Any) -> Forge:
    """HMAC with something everybody knows."""

    def forge(genuine: Genuine) -> str:
        head = json.dumps(genuine.header | {"alg": alg} | header)
        said = f"{encoded(head.encode())}.{genuine.parts[1]}"
        return f"{said}.{encoded(hmac.digest(secret(genuine), said.encode(), hashlib.sha256))}"

    return forge


def _unsigned(alg: str) -> Forge:
    def forge(genuine: Genuine) -> str:
        head = json.dumps(genuine.header | {"alg": alg})
        return f"{encoded(head.encode())}.{genuine.parts[1]}."

    return forge


def _by_pyjwt(key: Callable[[], Any], alg: str) -> Forge:
    def forge(genuine: Genuine) -> str:
        header = genuine.header | {"alg": alg}
        return jwt.encode(genuine.claims, key(), algorithm=alg, headers=header)

    return forge


def _with_own_jwk(genuine: Genuine) -> str:
    key = _stranger()
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return genuine.signed(key=key, header={"jwk": jwk, "kid": None}, role="admin")


def _with_header(header: str) -> Forge:
    return lambda genuine: f"{encoded(header.encode())}.{genuine.parts[1]}.{genuine.parts[2]}"


def _claims_changed(genuine: Genuine) -> str:
    payload = json.dumps(genuine.claims | {"role": "admin"})
    return f"{genuine.parts[0]}.{encoded(payload.encode())}.{genuine.parts[2]}"


def _header_changed(genuine: Genuine) -> str:
    header = json.dumps(genuine.header, indent=1)
    return f"{encoded(header.encode())}.{genuine.parts[1]}.{genuine.parts[2]}"


def _der(genuine: Genuine) -> str:
    said = ".".join(genuine.parts[:2])
    return f"{said}.{encoded(genuine.key.sign(said.encode(), ec.ECDSA(hashes.SHA256())))}"


def _compressed(genuine: Genuine) -> str:
    payload = encoded(zlib.compress(json.dumps(genuine.claims).encode())[2:-4])
    head = encoded(json.dumps(genuine.header | {"zip": "DEF"}).encode())
    return f"{head}.{payload}.{genuine.parts[2]}"


def _detached(genuine: Genuine) -> str:
    head = encoded(json.dumps(genuine.header | {"b64": False, "crit": ["b64"]}).encode())
    return f"{head}..{genuine.parts[2]}"


BY_STRANGERS: dict[str, Forge] = {
    "none": _unsigned("none"),
    "none in capitals": _unsigned("NONE"),
    "none in mixed case": _unsigned("nOnE"),
    "no algorithm": _with_header('{"typ":"at+jwt","kid":"x"}'),
    "HS256 with the public PEM": _by_secret(lambda genuine: genuine.public_pem),
    "HS256 with the public JWK": _by_secret(lambda g: json.dumps(g.public_jwk).encode()),
    "HS256 with the word of the sketch": _by_secret(lambda _: b"secret-key"),
    "HS256 with nothing": _by_secret(lambda _: b""),
    "HS256 by the kid of a file": _by_secret(lambda _: b"", kid="../../../../dev/null"),
    "HMAC that says ES256": _by_secret(lambda g: g.public_pem, alg="ES256"),
    "a stranger's key under our kid": _by_stranger(),
    "a stranger's kid": _by_stranger({"kid": "nobody"}),
    "a stranger's key and no kid": _by_stranger({"kid": None}),
    "a kid of SQL": _by_stranger({"kid": "' UNION SELECT 'x' --"}),
    "a kid that is a number": _by_stranger({"kid": 1}),
    "a kid that is a list": _by_stranger({"kid": ["x"]}),
    "a kid without end": _by_stranger({"kid": "k" * 600}),
    "a key of its own in it": _with_own_jwk,
    "an address of keys": _by_stranger({"jku": "http://127.0.0.1:9/jwks.json"}),
    "an address of certificates": _by_stranger({"x5u": "http://127.0.0.1:9/cert.pem"}),
    "certificates in it": _by_stranger({"x5c": ["MIIB"]}),
    "a critical header": _by_stranger({"crit": ["exp"]}),
    "the algorithm twice": _with_header('{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"x"}'),
    "ES384": _by_pyjwt(lambda: ec.generate_private_key(ec.SECP384R1()), "ES384"),
    "RS256": _by_pyjwt(lambda: rsa.generate_private_key(65537, 2048), "RS256"),
    "EdDSA": _by_pyjwt(ed25519.Ed25519PrivateKey.generate, "EdDSA"),
    "claims changed": _claims_changed,
    "header written anew": _header_changed,
    "no signature": lambda g: g.with_signature(b""),
    "a signature of zeros": lambda g: g.with_signature(bytes(64)),
    "a signature of the order": lambda g: g.with_signature(ORDER.to_bytes(32, "big") * 2),
    "a signature with a bit flipped": lambda g: g.with_signature(
        bytes([g.signature[0] ^ 1]) + g.signature[1:]
    ),
    "a signature cut": lambda g: g.with_signature(g.signature[:-1]),
    "a signature and more": lambda g: g.with_signature(g.signature + b"\0"),
    "a signature as DER": _der,
    "r and s exchanged": lambda g: g.with_signature(g.signature[32:] + g.signature[:32]),
    "a padded signature": lambda g: g.token + "==",
    "one part": lambda g: g.parts[0],
    "two parts": lambda g: ".".join(g.parts[:2]),
    "four parts": lambda g: g.token + ".x",
    "five parts": lambda g: g.token + ".x.y",
    "a dot behind": lambda g: g.token + ".",
    "a dot before": lambda g: "." + g.token,
    "dots": lambda _: "..",
    "another alphabet": lambda g: g.token[:-2] + "+/",
    "a space in it": lambda g: g.token.replace(".", ". ", 1),
    "detached": _detached,
    "compressed": _compressed,
    "huge": lambda g: f"{g.parts[0]}.{'A' * 24_000}.{g.parts[2]}",
    "a deep header": _with_header("[" * 12_000),
    "a header that is a list": _with_header("[]"),
    "a header that is a word": _with_header('"x"'),
    "a header that is nothing": _with_header("null"),
    "a header that is no JSON": _with_header("{'alg': 'ES256'}"),
    "a header of a number without end": _with_header('{"alg":' + "9" * 5_000 + "}"),
}


def _own(header: dict[str, Any] | None = None, **claims: Any) -> Forge:
    return lambda genuine: genuine.signed(header=header, **claims)


def _moved(name: str, seconds: int) -> Forge:
    return lambda genuine: genuine.signed(**{name: int(time.time()) + seconds})


def _twice(genuine: Genuine) -> str:
    claims = json.dumps(genuine.claims)[:-1] + ', "role": "admin"}'
    return genuine.signed_text(json.dumps(genuine.header), claims)


def _header_twice(genuine: Genuine) -> str:
    header = '{"alg": "none", ' + json.dumps(genuine.header)[1:]
    return genuine.signed_text(header, json.dumps(genuine.claims))


OF_AUTHS_OWN_KEY: dict[str, Forge] = {
    "ended": _moved("exp", -60),
    "no end": _own(exp=None),
    "an end that is text": lambda g: g.signed(exp=str(g.claims["exp"])),
    "an end that is true": _own(exp=True),
    "an end without end": lambda g: g.signed_text(
        json.dumps(g.header), json.dumps(g.claims | {"exp": float("inf")})
    ),
    "ten years": _moved("exp", 10 * 365 * 86_400),
    "two hours": _moved("exp", 2 * LATER),
    "issued later": _moved("iat", LATER),
    "issued at no time": _own(iat=None),
    "issued at text": _own(iat="now"),
    "not before later": _moved("nbf", LATER),
    "another audience": _own(aud="elsewhere"),
    "several audiences": _own(aud=["restock", "elsewhere"]),
    "a list of our audience": _own(aud=["restock"]),
    "no audience": _own(aud=None),
    "another issuer": _own(iss="elsewhere"),
    "no issuer": _own(iss=None),
    "no session": _own(sid=None),
    "a session that is no id": _own(sid="1"),
    "no workspace": _own(wid=None),
    "a workspace that is a list": _own(wid=["x"]),
    "no subject": _own(sub=None),
    "a subject that is no id": _own(sub="me"),
    "a subject that is a number": _own(sub=7),
    "no role": _own(role=None),
    "roles": _own(role=["admin"]),
    "typ JWT": _own({"typ": "JWT"}),
    "no typ": _own({"typ": None}),
    "no kid": _own({"kid": None}),
    "a critical header": _own({"crit": ["exp"]}),
    "a claim twice": _twice,
    "the algorithm twice": _header_twice,
    "claims that are a list": lambda g: g.signed_text(json.dumps(g.header), "[]"),
    "claims that are deep": lambda g: g.signed_text(json.dumps(g.header), "[" * 3_000),
    "a header and no claims": lambda g: g.signed_text(json.dumps(g.header), ""),
}
