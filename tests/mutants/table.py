"""The mistakes, and which search finds each by which law.

`python -m tests.mutants.table` looks for each of them and prints the tables of README.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from es_saga.adapters.telemetry import configure_logging
from es_saga.testing.laws import DATA_LAWS, LAWS, SYSTEM_LAWS
from tests.core.journey import journey
from tests.mutants import planted_core as core
from tests.mutants import planted_engine as engine
from tests.mutants import planted_holds as holds
from tests.mutants import planted_interpreter as interpreter
from tests.mutants import planted_isolation as isolation
from tests.mutants import planted_nested as nested
from tests.mutants import planted_participant as participant
from tests.mutants import planted_prepared as prepared
from tests.mutants.planted import Planted
from tests.mutants.searches import (
    HARSH,
    crossings,
    deaths_in_doubt,
    definitions,
    families,
    poison,
    promises,
    releases,
    reservation,
    reservations,
    scene_of_a_refusal,
    scenes_of_either_order,
    schedules,
    suite_of_fences,
    worlds,
    worlds_that_go_on,
)
from tests.participant.countermeasures import PROMISES
from tests.testing.planted import beside, refusable_after_the_pivot, reporting, with_deadline

HISTORY = "a broken history"

UNPLANTED: Mapping[str, str] = {}
"""Laws that no mistake breaks, and why: none is left."""

_past_the_pivot = schedules(refusable_after_the_pivot)
_beside = schedules(beside)

PLANTED = [
    # the interpreter: what is undone, and when
    Planted(interpreter.undoes_every_step, schedules(), "L29", ("D01",)),
    Planted(interpreter.undoes_what_never_ran, schedules(), "L07", ("D01",)),
    Planted(interpreter.stops_at_the_first_failed_undo, schedules(), "L37", ("D02",)),
    Planted(interpreter.undoes_all_at_once, schedules(), "L06", ("D03",)),
    Planted(interpreter.undoes_first_what_was_done_first, schedules(), "L57 L06"),
    Planted(interpreter.undoes_one_by_one, _beside, "L57"),
    Planted(interpreter.skips_the_last_undo, schedules(), "L01 L08 L30 L58"),
    Planted(interpreter.undoes_twice, schedules(), "L38"),
    Planted(interpreter.turns_back_at_every_failure, schedules(), "L26 L49"),
    Planted(interpreter.takes_its_undos_back, schedules(), "L61 L09 L35"),
    Planted(interpreter.undoes_while_a_step_is_in_flight, _beside, "L56"),
    Planted(interpreter.cancels_what_the_pivot_made_final, _past_the_pivot, "L15"),
    Planted(interpreter.lets_a_deadline_undo_the_pivot, schedules(with_deadline), "L15"),
    # what is not known
    Planted(interpreter.goes_back_beyond_the_save_point, schedules(journey), "L16"),
    Planted(interpreter.takes_silence_for_a_no, schedules(), "L18 L08 L30", ("D08", "D18")),
    Planted(interpreter.registers_the_undo_after_the_step, schedules(), "L08 L18 L30", ("D19",)),
    Planted(interpreter.counts_a_success_as_often_as_it_comes, schedules(), "L03 L42"),
    Planted(interpreter.believes_late_answers, schedules(), "L38"),
    Planted(interpreter.credits_any_reply_to_the_current_step, _beside, "L27", ("D15",)),
    Planted(interpreter.starts_again_on_a_late_reply, schedules(), "L28 L02 L03 L62", ("D16",)),
    Planted(interpreter.notes_every_late_reply, schedules(faults=4), "L42"),
    # what fails, and how it ends
    Planted(interpreter.swallows_a_failed_undo, schedules(), "L30 L01 L08 L58", ("D09", "D17")),
    Planted(interpreter.reports_a_waived_undo_as_done, schedules(reporting), "L30", ("D17",)),
    Planted(interpreter.asks_nobody_about_a_failed_undo, schedules(), "L32"),
    Planted(interpreter.goes_on_without_what_failed, schedules(), "L05"),
    Planted(interpreter.completes_with_the_step_listed_last, _beside, "L48"),
    Planted(interpreter.completes_with_the_step_listed_last, scenes_of_either_order, "L48"),
    Planted(interpreter.has_no_state_for_what_takes_a_human, schedules(), "L53 L32", ("D14",)),
    Planted(interpreter.is_deaf, schedules(), "L53"),
    Planted(interpreter.forgets_to_go_on, schedules(), "L53"),
    # what is remembered, and time
    Planted(core.takes_a_refusal_for_an_error, scene_of_a_refusal, "", ("D04",)),
    Planted(core.takes_a_refusal_for_an_error, _past_the_pivot, "L53", ("D04",)),
    Planted(core.announces_a_refusal_when_no_answer_comes, schedules(), "L01 L25 L58", ("D10",)),
    Planted(core.forgets_which_message_came, schedules(), "L43"),
    Planted(core.counts_attempts_from_nought, schedules(), "L04 L27"),
    Planted(core.accepts_steps_without_an_undo, definitions, "L11"),
    Planted(core.undoes_what_the_pivot_made_final, _past_the_pivot, "L12 L01 L13 L58"),
    Planted(core.starts_what_follows_the_pivot_at_once, _past_the_pivot, "L14 L05 L15"),
    Planted(core.goes_on_while_it_undoes, schedules(), "L09 L05 L52"),
    Planted(core.undoes_after_the_end, schedules(), "L10 L02 L28 L52"),
    Planted(core.waits_less_each_time, _past_the_pivot, "L31"),
    Planted(core.tries_once_more_than_it_may, _past_the_pivot, "L31"),
    Planted(core.takes_every_timer_for_due, _past_the_pivot, "L49"),
    Planted(core.drops_a_cancel_that_came_too_late, _past_the_pivot, "L17"),
    Planted(core.undoes_whatever_an_operator_wants_undone, _past_the_pivot, "L17 L12"),
    Planted(core.takes_what_was_resent_for_not_done, schedules(), "L18 L08"),
    Planted(core.does_not_say_that_it_was_resumed, schedules(), "L49"),
    Planted(core.forgets_who_intervened, schedules(), "L34"),
    Planted(core.sends_again_what_had_succeeded, _past_the_pivot, "L35"),
    Planted(core.lets_a_running_saga_be_retried, worlds(), "L36"),
    Planted(core.asks_again_under_a_new_id, schedules(), "L41"),
    Planted(core.retries_under_the_refused_key, schedules(), "L42"),
    # the engine, the log, the views
    Planted(engine.publishes_before_it_commits, worlds(HARSH, 1), "L44 L01", ("D11",)),
    Planted(engine.forgets_what_it_had_not_published, worlds(), "L45", ("D11",)),
    Planted(engine.sends_again_under_the_same_message_id, worlds(), "L46"),
    Planted(engine.sends_again_on_replay, worlds(), "L39"),
    Planted(engine.gives_a_field_another_default, schedules(), "L40"),
    Planted(engine.forgets_to_write_an_answer, schedules(), "L40"),
    Planted(engine.dies_of_what_it_cannot_read, poison, "L50 L53"),
    Planted(engine.goes_on_under_the_newest_version, releases, "L51 L44"),
    Planted(engine.overwrites_what_a_rival_wrote, worlds(), "L47 L54", ("D13", "D15")),
    Planted(engine.keeps_what_was_done_in_memory_only, worlds(), "L53", ("D12",)),
    Planted(engine.never_looks_at_its_timers, worlds(), "L53"),
    Planted(engine.fires_a_timer_after_the_end, worlds_that_go_on, "L49 L02 L52"),
    Planted(engine.alerts_at_every_event_while_it_is_stuck, worlds(), "L33"),
    Planted(engine.never_closes_an_alert, worlds(), "L33"),
    Planted(engine.leaves_timeouts_out_of_the_audit, worlds(), "L54"),
    # holds
    Planted(holds.confirms_each_hold_as_soon_as_it_is_held, schedules(reservation), "L71"),
    Planted(holds.confirms_what_may_have_expired, reservations, "L71"),
    Planted(holds.gives_a_confirm_up_like_any_step, schedules(reservation), "L73"),
    Planted(holds.releases_what_was_confirmed, reservations, "L72"),
    Planted(holds.confirms_what_has_expired, reservations, "L74"),
    Planted(holds.gives_back_what_is_still_reserved, reservations, "L75"),
    # holds that are prepared transactions
    Planted(prepared.recovers_nothing, deaths_in_doubt, "L73"),
    Planted(prepared.rolls_back_what_a_death_left, deaths_in_doubt, "L72"),
    Planted(prepared.rolls_back_what_is_confirmed, deaths_in_doubt, "L72"),
    Planted(prepared.commits_what_is_cancelled, deaths_in_doubt, "L72"),
    Planted(prepared.leaves_what_is_cancelled, deaths_in_doubt, "L73 L71"),
    Planted(prepared.answers_without_preparing, deaths_in_doubt, "L72"),
    # participants
    Planted(participant.forgets_the_fence, worlds(), "L23 L62"),
    Planted(participant.forgets_the_fence, suite_of_fences, "L23 L24"),
    Planted(participant.forgets_an_undo_that_came_first, worlds(), "L22 L19 L20"),
    Planted(participant.forgets_an_undo_that_came_first, suite_of_fences, "L22 L20 L21"),
    Planted(participant.has_a_fence_for_commands_and_none_for_undos, worlds(), "L24 L20"),
    Planted(
        participant.announces_a_failure_once_the_answer_was_lost, worlds(), "L25 L01", ("D10",)
    ),
    Planted(
        participant.announces_a_failure_once_the_answer_was_lost, suite_of_fences, "L23", ("D10",)
    ),
    Planted(participant.remembers_nothing, suite_of_fences, "L23"),
    Planted(participant.keeps_what_it_wrote_before_it_refused, suite_of_fences, "L25"),
    Planted(participant.answers_a_refusal_with_an_error, suite_of_fences, "L25", ("D04",)),
    # sagas that sagas run
    Planted(nested.completes_before_its_parent, families, "L59"),
    Planted(nested.lets_anybody_turn_back_what_is_held, families, "L59"),
    Planted(nested.is_cancelled_with_its_child, families, "L60"),
    # data that several sagas share
    Planted(isolation.keeps_its_locks_when_it_ends, crossings, "L63"),
    Planted(isolation.waits_in_a_circle_for_ever, crossings, "L64"),
    Planted(isolation.sets_what_it_should_add, promises, "L65"),
    Planted(isolation.warns_of_nothing, promises, "L66"),
    Planted(isolation.updates_what_has_moved_on, promises, "L67"),
    Planted(isolation.applies_the_last_operation_first, promises, "L68"),
    Planted(isolation.takes_every_value_lightly, promises, "L69"),
    Planted(isolation.goes_past_every_lock, crossings, "L70"),
]


def described(planted: Planted) -> str:
    """Its row, but for what is measured."""
    rows = " ".join(planted.rows)
    return f"| {planted.name} | {rows} | {planted.search.how} | {planted.laws} |"


def shown() -> dict[str, str]:
    """By which mistakes each law has been seen to be broken, or otherwise by histories only."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for planted in PLANTED:
        for law in planted.laws.split():
            names[law].append(planted.name)
    numbers = [law.number for law in LAWS] + [law.number for law in SYSTEM_LAWS]
    numbers += [law.number for law in DATA_LAWS]
    numbers = sorted([*numbers, *PROMISES])
    return {number: ", ".join(dict.fromkeys(names[number])) or HISTORY for number in numbers}


def _tables() -> Iterator[str]:
    yield "| mistake | stands for | found by | laws broken | examples |"
    yield "|---|---|---|---|---|"
    for planted in PLANTED:
        found = planted.find()
        assert found is not None, planted.name
        yield f"{described(planted)} {found.examples} |"
    yield "\n| law | broken by |\n|---|---|"
    for number, names in shown().items():
        yield f"| {number} | {names} |"


if __name__ == "__main__":
    configure_logging("critical")
    for line in _tables():
        print(line, flush=True)
