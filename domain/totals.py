"""Counting what a service holds, to show that nothing is created or lost on the way."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

Question = sa.Select[int] | sa.Select[int | None]

Counting = Callable[[sa.Engine], dict[str, int]]
"""What a service has for being counted."""


def count(engine: sa.Engine, **questions: Question) -> dict[str, int]:
    """The answer to each question, all of them at one moment; nothing counts as 0."""
    asked = sa.select(
        *(question.scalar_subquery().label(name) for name, question in questions.items())
    )
    with engine.connect() as connection:
        answers = connection.execute(asked).one()
    return {name: int(answer or 0) for name, answer in zip(questions, answers, strict=True)}


def counting(**questions: Question) -> Counting:
    """The function that asks them."""
    return lambda engine: count(engine, **questions)
