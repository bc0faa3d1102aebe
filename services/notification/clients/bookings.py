"""What bookings are about, from booking."""

from __future__ import annotations

import grpc
from berth.booking.v1.booking_service_pb2 import DescribeBookingRequest
from berth.booking.v1.booking_service_pb2_grpc import BookingDirectoryServiceStub

from services.chassis.rpc.channels import Channels
from services.chassis.rpc.errors import RemoteError, refusal_of
from services.notification import wire
from services.notification.domain import BookingDetails, Gone


class RemoteBookings:
    """Asks booking's directory."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    async def describe(self, booking_id: str) -> BookingDetails:
        """What a message says of a booking."""
        stub = self._channels.stub(BookingDirectoryServiceStub, "booking")
        try:
            return wire.booking_details(await stub.DescribeBooking(DescribeBookingRequest(booking_id=booking_id)))
        except RemoteError as error:
            if error.code is grpc.StatusCode.NOT_FOUND:
                raise Gone("the booking is gone") from error
            raise (refusal_of(error) or error) from error
