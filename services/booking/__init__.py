"""Booking: who booked what, where it stands, and the saga that takes it there."""
