"""A course: activity A, then B, then C."""

from __future__ import annotations

from domain.activities.contracts import (
    PerformA,
    PerformB,
    PerformC,
    RevokeA,
    RevokeB,
    RevokeC,
    RunCourse,
)
from domain.pace import PATIENCE
from es_saga import Saga

course = Saga("course", RunCourse)


@course.step(timeout=PATIENCE)
def a(r: RunCourse) -> PerformA:
    """Do A."""
    return PerformA(course_id=r.course_id, reject=r.reject == "a")


@a.compensation
def revoke_a(r: RunCourse) -> RevokeA:
    return RevokeA(course_id=r.course_id)


@course.step(timeout=PATIENCE)
def b(r: RunCourse) -> PerformB:
    """Do B."""
    return PerformB(course_id=r.course_id, reject=r.reject == "b")


@b.compensation
def revoke_b(r: RunCourse) -> RevokeB:
    return RevokeB(course_id=r.course_id)


@course.step(timeout=PATIENCE)
def c(r: RunCourse) -> PerformC:
    """Do C."""
    return PerformC(course_id=r.course_id, reject=r.reject == "c")


@c.compensation
def revoke_c(r: RunCourse) -> RevokeC:
    return RevokeC(course_id=r.course_id)
