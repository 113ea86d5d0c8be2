"""schemathesis over every operation of every service: whatever it makes of the documents, the
answer is a documented one, and none is a 500.

All its checks are on, in all its phases: the edges of each schema, generated requests good and bad,
and sequences in which an answer's ids go into the next request. Two people of two workspaces send
them, and an admin where both are refused; what one of the two reads is asked for by the other.
"""

import asyncio
import json
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.generation.modes import GenerationMode

from restock.engines.nats import NatsEngine
from restock.engines.postgres import PostgresEngine
from restock.gateway.reference import merge
from tests.contracts.operations import DOCUMENTS
from tests.contracts.whole import PASSWORD, Person, whole
from tests.fixtures.figures import Figures

# A good request may be refused for what was before it, or for what JSON Schema has no words for:
# by the problem's code, or by what it says of a field.
NOT_IN_A_SCHEMA = {
    "request.idempotency_key_reused",
    "request.bad_cursor",
    "inventory.quantity_too_large",
    "Expected `int | null`, got `float`",  # 1.0, which JSON Schema calls an integer
    # what of an e-mail address nobody could ever get mail at
    "Expected an e-mail address, such as name@example.org",
    "The part before the @ is not one of an e-mail address",
    "The part after the @ is not a host name",
    "The part after the @ is an address, not a host name",
}

CHECKS = {
    "allow_header_conformance", "content_type_conformance", "ensure_resource_availability",
    "ignored_auth", "missing_required_header", "negative_data_rejection", "not_a_server_error",
    "object_level_authorization", "positive_data_acceptance", "response_headers_conformance",
    "response_schema_conformance", "status_code_conformance", "unsupported_method",
    "use_after_free",
}  # fmt: skip

# So much of the operations is done at least once, by luck more in a longer run. What takes much
# luck: a password, a file's name, an edit of the right half.
DONE_AT_LEAST = 0.75


@dataclass
class Heard:
    """What came of a run: failures by check and operation, answers by operation and status."""

    failures: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    checks: set[str] = field(default_factory=set)  # that looked at an answer

    def note(self, event: Any) -> None:
        if isinstance(event, events.ScenarioFinished):
            self._note(event.recorder)
        elif isinstance(event, events.NonFatalError):
            self.errors.append(f"{event.label}: {event.value!r}")
        elif isinstance(event, events.FatalError):
            self.errors.append(repr(event.exception))

    def _note(self, recorder: Any) -> None:
        for case_id, interaction in recorder.interactions.items():
            if interaction.response is not None:
                label = recorder.cases[case_id].value.operation.label
                if interaction.request.method != "OPTIONS":
                    self.answers[label, interaction.response.status_code] += 1
        for case_id, checks in recorder.checks.items():
            for check in checks:
                self.checks.add(check.name)
                if check.failure_info is not None:
                    failure = check.failure_info.failure
                    answer = recorder.interactions[case_id].response
                    said = f"{failure.message}\n{check.failure_info.code_sample}\n"
                    said += str(answer and answer.content[:500])
                    self.failures[check.name, failure.operation].append(said)

    @property
    def asked(self) -> set[str]:
        return {operation for operation, _ in self.answers}

    @property
    def done(self) -> set[str]:
        """Operations that did something."""
        return {operation for operation, status in self.answers if status < 300}

    def report(self) -> str:
        """Each kind of failure once, with how often it was."""
        return "\n\n".join(
            f"{check} of {operation}, {len(said)} times: {said[0]}"
            for (check, operation), said in self.failures.items()
        )


def _signs_in(person: Person) -> dict[str, Any]:
    """How to sign in as somebody, whenever that is needed (Web Fuzzing Commons)."""
    return {
        "name": person.email,
        "loginEndpointAuth": {
            "endpoint": "/api/auth/login",
            "verb": "POST",
            "contentType": "application/json",
            "payloadUserPwd": {
                "username": person.email,
                "password": PASSWORD,
                "usernameField": "email",
                "passwordField": "password",
            },
            "token": {
                "extractFrom": "body",
                "extractSelector": "/token",
                "sendIn": "header",
                "sendName": "Authorization",
                "sendTemplate": "Bearer {token}",
            },
        },
    }


def _config(url: str, people: Path, peers: list[Person], size: tuple[int, int, int]) -> Any:
    examples, steps, seed = size
    return SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "base-url": url,
            "continue-on-failure": True,
            "cache": {"enabled": False},
            "auth": {"wfc": {"path": str(people), "peers": [peer.email for peer in peers]}},
            "generation": {"max-examples": examples, "database": "none"},
            "phases": {"stateful": {"max-steps": steps, "generation": {"max-examples": examples}}},
            "checks": {
                # besides what it knows: a version that was right when the request was made
                "positive_data_acceptance": {
                    "expected-statuses": ["2xx", "401", "403", "404", "409", "412", "429"]
                },
                "missing_required_header": {"expected-statuses": ["401", "422", "428"]},
            },
        }
    )


def _is_a_mistake(context: Any, failure: Any, case: Any, response: Any) -> bool:
    problem = json.loads(response.content) if response.content else {}
    match type(failure).__name__:
        case "RejectedPositiveData":
            said = {problem.get("code"), *(error["message"] for error in problem.get("errors", ()))}
            return said.isdisjoint(NOT_IN_A_SCHEMA)
        case "UnsupportedMethodResponse":
            # QUERY has to come with a Content-Type, and Envoy sees to that by itself
            malformed = problem.get("code") == "gateway.request_malformed"
            return not (malformed and response.request.method == "QUERY")
    return True


def _with_six_places(context: Any, case: Any) -> Any:
    """A good request has no more of them, which `multipleOf` can't say in binary fractions."""
    if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
        case.body = _rounded(case.body)
    return case


def _rounded(node: Any) -> Any:
    match node:
        case float():
            return max(-1e9 + 1, min(round(node, 6), 1e9 - 1)) or 1
        case dict():
            return {name: _rounded(part) for name, part in node.items()}
        case list():
            return [_rounded(part) for part in node]
    return node


def _run(config: SchemathesisConfig) -> tuple[set[str], Heard]:
    """The operations there are, and what was heard of them."""
    schema = schemathesis.openapi.from_dict(merge(DOCUMENTS), config=config)
    schema.hook("filter_failure")(_is_a_mistake)
    schema.hook("map_case")(_with_six_places)
    heard = Heard()
    for event in from_schema(schema).execute():
        heard.note(event)
    return {found.ok().label for found in schema.get_all_operations()}, heard


@pytest.mark.timeout(600)
@pytest.mark.parametrize("through_envoy", [False, True], ids=["services", "gateway"])
@pytest.mark.parametrize(
    ("examples", "steps", "seed"),
    [
        pytest.param(3, 6, 1, id="short"),
        pytest.param(60, 12, None, marks=[pytest.mark.long, pytest.mark.timeout(1200)], id="long"),
    ],
)
async def test_every_answer_is_a_documented_one(
    postgres: PostgresEngine,
    nats: NatsEngine,
    tmp_path: Path,
    figures: Figures,
    examples: int,
    steps: int,
    seed: int | None,
    through_envoy: bool,
) -> None:
    """A new seed in each long run, told beside its figures."""
    if seed is None:
        seed = random.SystemRandom().randrange(10**6)
        figures.tell(f"seed of schemathesis, {through_envoy=}", str(seed))
    async with whole(postgres, nats, envoy=tmp_path if through_envoy else None) as system:
        peers = [await system.registered(name) for name in ("ada", "eve")]
        people = tmp_path / "people.json"
        people.write_text(
            json.dumps({"auth": [_signs_in(who) for who in (*peers, await system.admin())]})
        )
        config = _config(system.url, people, peers, (examples, steps, seed))
        operations, heard = await asyncio.to_thread(_run, config)
    figures.add("schemathesis cases", heard.answers.total())
    assert heard.errors == []
    assert heard.checks >= CHECKS
    assert not heard.failures, heard.report()
    assert heard.asked == operations
    assert len(heard.done) >= DONE_AT_LEAST * len(operations), "it got nowhere"
