"""Three activities in a row, each of which can be rejected: a saga with nothing but its shape."""

from domain.activities.participants import a, b, c
from domain.activities.saga import course
from es_saga import App

app = App("activities", sagas=[course], participants=[a, b, c])

__all__ = ["app", "course"]
