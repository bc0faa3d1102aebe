"""Calls that travel together: each is what it would be by itself, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from berth.auth.v1 import tenant_service_pb2
from berth.auth.v1.tenant_service_pb2_grpc import DirectoryServiceStub, add_DirectoryServiceServicer_to_server
from berth.type.v1 import together_pb2
from google.rpc import error_details_pb2, status_pb2

from services.chassis.errors import DependencyUnavailable, NotFound
from services.chassis.ids import new_id
from services.chassis.principal import Principal
from services.chassis.rpc import context, server, together
from services.chassis.rpc.errors import RemoteError
from services.chassis.rpc.policy import TOGETHER, policy_of
from services.chassis.rpc.together import MOST, Seat
from tests.integration.rpc.serving import NOW, OTHER_TENANT, TENANT, Dial, Open, Running, Serve, refusal

GET_CONTACT = "/berth.auth.v1.DirectoryService/GetContact"
PEOPLE = [new_id("usr", at=NOW) for _ in range(2 * MOST + 1)]

Ask = Any  # GetContact of a user's id, as notification asks it


@asynccontextmanager
async def asking(serve: Serve, channels: Open, handler: Any) -> AsyncIterator[Ask]:
    """Notification's side of an auth that answers so."""
    async with (
        serve(add_DirectoryServiceServicer_to_server) as running,
        channels("notification", auth=[running.port]) as ours,
    ):
        running.scripted.handlers["GetContact"] = handler
        stub = ours.stub(DirectoryServiceStub, "auth")

        async def ask(user_id: str, *, tenant_id: str = TENANT, **options: Any) -> tenant_service_pb2.Contact:
            with context.background("test", tenant_id=tenant_id, on_behalf_of=user_id):
                request = tenant_service_pb2.GetContactRequest(user_id=user_id)
                answer: tenant_service_pb2.Contact = await stub.GetContact(request, **options)
                return answer

        await ask(PEOPLE[0])  # the connection is there
        yield ask


def told(request: Any) -> tenant_service_pb2.Contact:
    return tenant_service_pb2.Contact(first_name=request.user_id)


async def test_calls_of_one_turn_travel_together_and_stay_what_they_are(serve: Serve, channels: Open) -> None:
    seen: list[context.Call] = []

    async def handler(request: Any) -> tenant_service_pb2.Contact:
        seen.append(context.current())
        return told(request)

    async with asking(serve, channels, handler) as ask:
        seen.clear()
        tenants = [TENANT, OTHER_TENANT]
        answers = await asyncio.gather(
            *(ask(user, tenant_id=tenants[place % 2]) for place, user in enumerate(PEOPLE)),
        )
    assert [answer.first_name for answer in answers] == PEOPLE
    # Three messages: 16, 16 and 1, which is none the worse for it.
    assert [isinstance(call.wire, Seat) for call in seen] == [True] * len(PEOPLE)
    assert len({id(call.wire._wire) for call in seen}) == 3
    assert {call.request.user_id: call.principal for call in seen} == {
        user: Principal("service", tenants[place % 2], "notification", on_behalf_of=user)
        for place, user in enumerate(PEOPLE)
    }
    assert len({call.request_id for call in seen}) == len({call.traceparent for call in seen}) == len(PEOPLE)
    limit = policy_of(GET_CONTACT).deadline
    assert limit is not None
    assert all(call.remaining() < limit for call in seen)


async def test_one_alone_goes_by_itself(serve: Serve, channels: Open) -> None:
    seats: list[bool] = []

    async def handler(request: Any) -> tenant_service_pb2.Contact:
        seats.append(isinstance(context.current().wire, Seat))
        return told(request)

    async with asking(serve, channels, handler) as ask:
        await ask(PEOPLE[0])
        await ask(PEOPLE[1])
    assert seats == [False] * 3


async def test_each_fails_by_itself(serve: Serve, channels: Open) -> None:
    async def handler(request: Any) -> tenant_service_pb2.Contact:
        if request.user_id == PEOPLE[1]:
            raise NotFound(resource="user")
        if request.user_id == PEOPLE[2]:
            raise ValueError("a secret")
        return told(request)

    async with asking(serve, channels, handler) as ask:
        one, missing, broken = await asyncio.gather(*(ask(user) for user in PEOPLE[:3]), return_exceptions=True)
        with pytest.raises(RemoteError) as alone:
            await ask(PEOPLE[1])
    assert one == tenant_service_pb2.Contact(first_name=PEOPLE[0])
    assert isinstance(missing, RemoteError)
    assert vars(missing) == vars(alone.value)
    assert (missing.code, missing.metadata) == (grpc.StatusCode.NOT_FOUND, {"resource": "user"})
    assert isinstance(broken, RemoteError)
    assert (broken.code, broken.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in str(broken)


async def test_nobody_waits_for_a_slower_one_and_each_has_its_own_time(serve: Serve, channels: Open) -> None:
    slow, ended = asyncio.Event(), []

    async def handler(request: Any) -> tenant_service_pb2.Contact:
        if request.user_id != PEOPLE[0]:
            try:
                await slow.wait()
            finally:
                ended.append(request.user_id)
        return told(request)

    async with asking(serve, channels, handler) as ask:
        quick = asyncio.create_task(ask(PEOPLE[0]))
        short = asyncio.create_task(ask(PEOPLE[1], timeout=0.3))
        long = asyncio.create_task(ask(PEOPLE[2]))
        assert (await quick).first_name == PEOPLE[0]
        assert not short.done()
        with pytest.raises(RemoteError) as late:
            await short
        assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert not long.done()
        slow.set()
        assert (await long).first_name == PEOPLE[2]
    assert ended == PEOPLE[1:3]


async def test_who_gives_up_before_the_journey_is_not_sent(serve: Serve, channels: Open) -> None:
    asked: list[str] = []

    async def handler(request: Any) -> tenant_service_pb2.Contact:
        asked.append(request.user_id)
        return told(request)

    async with asking(serve, channels, handler) as ask:
        asked.clear()
        tasks = [asyncio.create_task(ask(user)) for user in PEOPLE[:3]]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(asked) == sorted([PEOPLE[0], PEOPLE[2]])


async def test_a_passing_outage_is_not_seen(serve: Serve, channels: Open) -> None:
    tried: list[str] = []

    async def handler(request: Any) -> tenant_service_pb2.Contact:
        tried.append(request.user_id)
        if tried.count(request.user_id) == 1 and request.user_id != PEOPLE[0]:
            raise DependencyUnavailable
        return told(request)

    async with asking(serve, channels, handler) as ask:
        answers = await asyncio.gather(*(ask(user) for user in PEOPLE[:3]))
    assert [answer.first_name for answer in answers] == PEOPLE[:3]


async def test_a_dependency_that_is_out_is_tried_hardly_more_than_once_a_request(serve: Serve, channels: Open) -> None:
    tried: list[str] = []

    async def handler(request: Any) -> tenant_service_pb2.Contact:
        tried.append(request.user_id)
        if len(tried) > 1:
            raise DependencyUnavailable
        return told(request)

    async with asking(serve, channels, handler) as ask:
        tried.clear()
        tried.append("the connection's")
        rounds, people = 40, PEOPLE[:5]
        for _ in range(rounds):
            answers = await asyncio.gather(*(ask(user) for user in people), return_exceptions=True)
            assert {error.code for error in answers if isinstance(error, RemoteError)} == {grpc.StatusCode.UNAVAILABLE}
            assert all(isinstance(error, RemoteError) for error in answers)
    requests = rounds * len(people)
    assert requests < len(tried) - 1 <= 1.2 * requests


async def test_one_that_is_out_and_takes_its_time_is_not_asked_twice_for_long(
    serve: Serve, channels: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    async def handler(request: Any) -> tenant_service_pb2.Contact:
        tried.append(request.user_id)
        if len(tried) > 1:
            await asyncio.sleep(0.2)
            raise DependencyUnavailable
        return told(request)

    monkeypatch.setattr(together, "PAUSE_SECONDS", 0.15)  # shorter than a failure takes
    rounds, people = 30, PEOPLE[:5]  # so many that a machine which stands still for a moment does not decide
    async with asking(serve, channels, handler) as ask:
        for _ in range(rounds):
            await asyncio.gather(*(ask(user) for user in people), return_exceptions=True)
    requests = rounds * len(people)
    assert requests < len(tried) - 1 <= 1.2 * requests


async def test_a_call_made_again_has_only_the_time_that_is_left(serve: Serve, channels: Open) -> None:
    left: list[float] = []

    async def handler(request: Any) -> tenant_service_pb2.Contact:
        if request.user_id != PEOPLE[0]:
            left.append(context.current().remaining())
            if isinstance(context.current().wire, Seat):
                await asyncio.sleep(0.4)
                raise DependencyUnavailable
        return told(request)

    async with asking(serve, channels, handler) as ask:
        await asyncio.gather(*(ask(user, timeout=1.5) for user in PEOPLE[1:3]))
    assert len(left) == 4
    assert max(left[2:]) <= 1.1


async def test_a_call_that_ends_without_an_answer_keeps_nobody_waiting(serve: Serve, channels: Open) -> None:
    async def handler(request: Any) -> tenant_service_pb2.Contact:
        if request.user_id == PEOPLE[1]:
            raise asyncio.CancelledError
        return told(request)

    async with asking(serve, channels, handler) as ask:
        one, lost = await asyncio.gather(*(ask(user) for user in PEOPLE[:2]), return_exceptions=True)
    assert one == tenant_service_pb2.Contact(first_name=PEOPLE[0])
    assert isinstance(lost, RemoteError)
    assert lost.code is grpc.StatusCode.UNKNOWN


async def test_a_method_that_travels_only_here_is_asked_as_ever(
    serve: Serve, channels: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(request: Any) -> tenant_service_pb2.Contact:
        assert not isinstance(context.current().wire, Seat)
        return told(request)

    plain = server._Chains.__init__

    def stays(self: Any, *arguments: Any) -> None:
        plain(self, *arguments)
        self._travelling = frozenset()

    monkeypatch.setattr(server._Chains, "__init__", stays)
    async with asking(serve, channels, handler) as ask:
        answers = await asyncio.gather(*(ask(user) for user in PEOPLE[:3]))
    assert [answer.first_name for answer in answers] == PEOPLE[:3]


async def test_a_server_of_an_older_release_is_asked_as_ever(
    serve: Serve, channels: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(request: Any) -> tenant_service_pb2.Contact:
        assert not isinstance(context.current().wire, Seat)
        return told(request)

    monkeypatch.setattr(together, "TOGETHER", "/berth.type.v1.Together/NotKnownYet")
    async with asking(serve, channels, handler) as ask:
        for _ in range(2):
            answers = await asyncio.gather(*(ask(user) for user in PEOPLE[:3]))
            assert [answer.first_name for answer in answers] == PEOPLE[:3]


async def travel(running: Running, dial: Dial, peer: str, method: str) -> together_pb2.AnswersTogether.Answer:
    """The answer to a call that travels in a message which somebody made by hand."""
    request = tenant_service_pb2.GetContactRequest(user_id=PEOPLE[0])
    call = together_pb2.CallsTogether.Call(
        method=method, request=request.SerializeToString(), metadata={"berth-tenant": TENANT}, seconds=2
    )
    async with dial(running, peer) as channel:
        send: Any = channel.unary_stream(TOGETHER)
        answers = [
            answer
            async for message in send(together_pb2.CallsTogether(calls=[call]).SerializeToString(), timeout=5)
            for answer in together_pb2.AnswersTogether.FromString(message).answers
        ]
    (answer,) = answers
    return answer


def reason(answer: together_pb2.AnswersTogether.Answer) -> str:
    for detail in status_pb2.Status.FromString(answer.status).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return ""


@pytest.mark.parametrize(
    ("peer", "method", "code", "said"),
    [
        ("notification", GET_CONTACT, None, ""),
        ("inventory", GET_CONTACT, grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED"),
        ("gateway", GET_CONTACT, grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED"),
        ("notification", "/berth.auth.v1.DirectoryService/No", grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN"),
        ("notification", TOGETHER, grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN"),
        ("operator", "/grpc.health.v1.Health/Check", grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN"),
    ],
)
async def test_travelling_opens_no_door(
    serve: Serve, dial: Dial, peer: str, method: str, code: grpc.StatusCode | None, said: str
) -> None:
    async def handler(request: Any) -> tenant_service_pb2.Contact:
        return told(request)

    async with serve(add_DirectoryServiceServicer_to_server) as running:
        running.scripted.handlers["GetContact"] = handler
        answer = await travel(running, dial, peer, method)
    assert (answer.code, reason(answer)) == (code.value[0] if code else 0, said)


@pytest.mark.parametrize(
    "message",
    [
        b"\xff\xff",
        together_pb2.CallsTogether(calls=[together_pb2.CallsTogether.Call()] * (MOST + 1)).SerializeToString(),
    ],
    ids=["no message", "too many calls"],
)
async def test_what_is_no_message_of_calls_is_refused(serve: Serve, dial: Dial, message: bytes) -> None:
    async with serve(add_DirectoryServiceServicer_to_server) as running, dial(running, "notification") as channel:
        send: Any = channel.unary_stream(TOGETHER)
        said = await refusal(send(message, timeout=5).read())
    assert (said.code, said.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")


async def test_calls_end_with_a_journey_that_is_given_up(serve: Serve, dial: Dial) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handler(_request: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serve(add_DirectoryServiceServicer_to_server) as running:
        running.scripted.handlers["GetContact"] = handler
        journey = asyncio.create_task(travel(running, dial, "notification", GET_CONTACT))
        await begun.wait()
        journey.cancel()
        await asyncio.wait_for(ended.wait(), 1.5)
