"""What is said when two travel together. The commands are those of the travel agency."""

from __future__ import annotations

from pydantic import Field

from domain.travel.contracts import Name, Pence
from es_saga import Message


class BookJourney(Message):
    """One wants a seat and a room, or neither."""

    trip_id: Name
    flight: Name = Field(examples=["BA117", "full"])
    hotel: Name = Field(examples=["Savoy", "full"])


class TravelTogether(Message):
    """Two want to go to one place, from two: both, or neither. We know the examples."""

    trip_id: Name
    traveller: Name = Field(examples=["ada", "tramp"])
    """Who pays."""
    first_flight: Name = Field(examples=["BA117", "full"])
    second_flight: Name = Field(examples=["BA117", "full"])
    hotel: Name = Field(examples=["Savoy", "full"])
    pence: Pence
