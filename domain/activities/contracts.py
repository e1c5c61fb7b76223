"""What is said between the activities."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from es_saga import Command, Message, Refusal

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class RunCourse(Message):
    """Do A, then B, then C; and say which one is to be rejected, if any."""

    course_id: Name
    reject: Literal["a", "b", "c"] | None = None


class Performed(Message):
    """The activity took place."""

    activity: str


class Rejected(Refusal):
    """The activity does not take place."""

    activity: str


class Perform(Command[Performed]):
    """Do one activity of a course."""

    course_id: Name
    reject: bool


class PerformA(Perform):
    """Do A."""

    to = "a"


class PerformB(Perform):
    """Do B."""

    to = "b"


class PerformC(Perform):
    """Do C."""

    to = "c"


class Revoke(Command[None]):
    """Make an activity undone."""

    course_id: Name


class RevokeA(Revoke):
    """Undoes PerformA."""

    to = "a"


class RevokeB(Revoke):
    """Undoes PerformB."""

    to = "b"


class RevokeC(Revoke):
    """Undoes PerformC."""

    to = "c"
