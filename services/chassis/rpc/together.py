"""Calls that travel together: what a service asks of one neighbour in one turn of its event loop goes in one message.

A busy service answers many of its callers in one turn, and each asks the same neighbour next. What gRPC needs for one
call serves all of them. Each keeps its identity, its time and its answer. A call that is the only one of its turn goes
by itself, and so does each whose journey failed: gRPC alone retries.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextvars import Context
from typing import Any, Final, NoReturn

import grpc
from berth.type.v1 import together_pb2
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from services.chassis.errors import MalformedRequest
from services.chassis.rpc.errors import DETAILS_KEY
from services.chassis.rpc.policy import TOGETHER

MOST: Final = 16  # calls in one message
PAUSE_SECONDS: Final = 1.0  # in which all go alone after a failure, so that throttling sees them
SPARE_SECONDS: Final = 1.0  # of a journey beyond the time of its calls, which end by their own

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
# What a retry may mend; and what a server says whose release does not let the method travel.
_ALONE: Final = frozenset(code.value[0] for code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED))
_Call = together_pb2.CallsTogether.Call
_Answer = together_pb2.AnswersTogether.Answer


class Departures:
    """The calls to one service, on their way out."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._send: Any = channel.unary_stream(
            TOGETHER,
            request_serializer=together_pb2.CallsTogether.SerializeToString,
            response_deserializer=together_pb2.AnswersTogether.FromString,
        )
        self._leaving: list[_Traveller] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._alone_until = 0.0

    async def ask(
        self, method: str, request: bytes, seconds: float, metadata: Sequence[tuple[str, str]]
    ) -> bytes | None:
        """The answer, serialized; raises the AioRpcError that the call failed with. None: it has to go by itself.

        Only for calls that may be sent twice: one that is told to go by itself may have arrived.
        """
        if time.monotonic() < self._alone_until:
            return None
        loop = asyncio.get_running_loop()
        if not self._leaving:
            loop.call_soon(self._leave)
        one = _Traveller(_Call(method=method, request=request, metadata=dict(metadata), seconds=seconds))
        self._leaving.append(one)
        too_late = loop.call_later(seconds, one.fail, grpc.StatusCode.DEADLINE_EXCEEDED)
        try:
            return await one.answer
        finally:
            too_late.cancel()

    def _leave(self) -> None:
        leaving = [one for one in self._leaving if not one.answer.done()]
        self._leaving = []
        if len(leaving) == 1:
            leaving[0].answer.set_result(None)
            return
        for start in range(0, len(leaving), MOST):
            travellers = leaving[start : start + MOST]
            # A journey is nobody's alone: it must not run as the call that happened to be the first of its turn.
            journey = asyncio.get_running_loop().create_task(self._travel(travellers), context=Context())
            self._under_way.add(journey)
            journey.add_done_callback(self._under_way.discard)

    async def _travel(self, travellers: Sequence[_Traveller]) -> None:
        message = together_pb2.CallsTogether(calls=[one.call for one in travellers])
        seconds = max(one.call.seconds for one in travellers) + SPARE_SECONDS
        try:
            async for answers in self._send(message, timeout=seconds):
                for answer in answers.answers:
                    travellers[answer.place].arrive(answer)
        except grpc.aio.AioRpcError:
            # Nobody there, or nobody who knows of journeys: a server of an older release.
            self.pause()
        finally:
            for one in travellers:
                one.go_alone()

    def pause(self) -> None:
        """Have all calls go by themselves for a while: the service is out."""
        self._alone_until = time.monotonic() + PAUSE_SECONDS


class _Traveller:
    """One call on its way."""

    __slots__ = ("answer", "call")

    def __init__(self, call: _Call) -> None:
        self.call = call
        self.answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    def arrive(self, answer: _Answer) -> None:
        """Take the answer, or go by itself where that may help."""
        if answer.code in _ALONE:
            self.go_alone()
        elif answer.code:
            self.fail(_CODES[answer.code], answer.status)
        elif not self.answer.done():
            self.answer.set_result(answer.response)

    def go_alone(self) -> None:
        """Have the call made once more, without company, unless it was answered."""
        if not self.answer.done():
            self.answer.set_result(None)

    def fail(self, code: grpc.StatusCode, status: bytes = b"") -> None:
        """End as a call does that failed by itself."""
        if not self.answer.done():
            trailers = grpc.aio.Metadata((DETAILS_KEY, status)) if status else grpc.aio.Metadata()
            said = status_pb2.Status.FromString(status).message
            self.answer.set_exception(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, details=said))


class Seat:
    """What gRPC's context is to a call that came by itself."""

    def __init__(self, wire: Any, seconds: float) -> None:
        self._wire = wire
        self._ends_at = time.monotonic() + seconds

    def time_remaining(self) -> float:
        """The seconds left."""
        return self._ends_at - time.monotonic()

    def peer_identities(self) -> Sequence[bytes] | None:
        """The names in the caller's certificate."""
        identities: Sequence[bytes] | None = self._wire.peer_identities()
        return identities

    async def abort(
        self, code: grpc.StatusCode, _details: str, trailing_metadata: Sequence[tuple[str, str | bytes]]
    ) -> NoReturn:
        """End the call with an error; the trailers carry the message too."""
        status = dict(trailing_metadata)[DETAILS_KEY]
        if not isinstance(status, bytes):
            raise TypeError("gRPC's binary trailers are bytes.")
        raise _Refused(code, status)


class _Refused(Exception):
    def __init__(self, code: grpc.StatusCode, status: bytes) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


# Serves one call, by its method: metadata, request and what stands for gRPC's context.
Serve = Callable[[str, Mapping[str, str], bytes, Seat], Awaitable[bytes]]


class Arrivals:
    """The calls of others, as they come in."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve

    async def travel(self, request: bytes, wire: Any) -> AsyncIterator[bytes]:
        """The answers of one journey, each as soon as it is there; what is there at once goes together again."""
        try:
            calls = together_pb2.CallsTogether.FromString(request).calls
        except DecodeError as error:
            raise MalformedRequest from error
        if len(calls) > MOST:
            raise MalformedRequest
        answers: list[_Answer] = []
        answered = asyncio.Event()

        async def serve(place: int, call: _Call) -> None:
            answer = _Answer(place=place)
            seat = Seat(wire, call.seconds)
            try:
                answer.response = await self._serve(call.method, dict(call.metadata), call.request, seat)
            except _Refused as refused:
                answer.code, answer.status = refused.code.value[0], refused.status
            except BaseException:
                # Whatever ended it, its caller must not wait for it.
                answer.code = grpc.StatusCode.UNKNOWN.value[0]
                raise
            finally:
                answers.append(answer)
                answered.set()

        serving = [asyncio.create_task(serve(place, call)) for place, call in enumerate(calls)]
        left = len(serving)
        try:
            while left:
                await answered.wait()
                answered.clear()
                left -= len(answers)
                message = together_pb2.AnswersTogether(answers=answers)
                answers.clear()  # before others are sent, and more come
                yield message.SerializeToString()
        finally:
            # The caller went away, or all are answered.
            for task in serving:
                task.cancel()
