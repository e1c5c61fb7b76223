"""Two who travel together: a journey for each, and neither goes alone."""

from domain.together.saga import journey, together
from domain.travel.participants import flights, rooms, wallet
from es_saga import App

app = App("together", sagas=[together, journey], participants=[flights, rooms, wallet])

__all__ = ["app", "journey", "together"]
