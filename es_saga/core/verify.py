"""From a saga to a definition that can be run, or to the list of everything that is wrong with it.

Rules: a path reads compensatable*, at most one pivot, retriable* (law L11; flexible transactions,
Mehrotra 1992); a compensation is neither missing nor misplaced (R048); a parameter is supplied by
exactly one ancestor.
"""

from __future__ import annotations

import inspect
from types import GenericAlias
from typing import Any, get_args, get_origin

from es_saga.core.compiled import (
    Bind,
    Condition,
    Definition,
    Fan,
    Nothing,
    OnUnknown,
    StepDefinition,
    StepKind,
    UndoDefinition,
    UndoOrder,
    Way,
)
from es_saga.core.definition import Saga
from es_saga.core.errors import DefinitionError
from es_saga.core.listening import listen
from es_saga.core.messages import MAX_ID_CHARS, is_token, reply_type
from es_saga.core.options import one_of, policy, some_seconds
from es_saga.core.policy import FOR_EVER, OnFailedUndo, Retry
from es_saga.core.signatures import NO_ITEM, Signature, is_message, named, optional
from es_saga.core.step import Reference, Step
from es_saga.core.verify_flow import FlowVerifier

MAX_STEPS = 200
"""Steps a saga may have: deciding looks at each of them."""


_WAITING = Signature(command=Nothing)
"""Of a step that asks nobody."""


class Verifier(FlowVerifier):
    """Looks for everything that is wrong with a saga, then compiles it."""

    def compile(self) -> Definition:
        self.check_saga()
        self.check_edges()
        self.check_joins()
        self.find_ancestors()
        self.find_certain()
        pivot = self.check_pivot()
        self.check_joins_come_early(pivot)
        self.check_save_points(pivot)
        for name, step in self.steps.items():
            if step.wait is not None:
                self.check_wait(step)
                self.signatures[name] = _WAITING
                self.replies[name] = Way if step.ways else step.wait.message or type(None)
                continue
            if step.child is not None:
                signature = self.children.read(step, self.read)
            else:
                self.items[name] = self.check_list(step)
                signature = self.read(name, step.fn, item=self.items[name])
            self.signatures[name] = signature
            if signature.command is not None:
                self.replies[name] = reply_type(signature.command)
        compiled = [self.compile_step(step, pivot) for step in self.steps.values()]
        heard = listen(self.saga, self.fault)
        if self.faults:
            raise DefinitionError(self.saga.name, self.faults)
        return Definition(
            name=self.saga.name,
            version=self.saga.version,
            data=self.saga.data,
            steps=self.children.closed({step.name: step for step in compiled if step is not None}),
            deadline=self.deadline,
            on_failed_undo=self.saga.on_failed_undo,
            undo_order=self.saga.undo_order,
            decide=self.saga.decide,
            openings=heard.openings,
            correlations=heard.correlations,
        )

    def check_saga(self) -> None:
        saga = self.saga
        if not _is_name(saga.name):
            self.fault(
                f"the name {saga.name[:80]!r} cannot be a saga's: use 1 to {MAX_ID_CHARS} letters, "
                f"digits, '_' and '-'"
            )
        if saga.version < 1:
            self.fault("the version counts from 1")
        if not is_message(saga.data):
            self.fault(f"the input {saga.data!r} is no Message: derive it from es_saga.Message")
        if saga.deadline is not None:
            self.deadline = some_seconds("the deadline", saga.deadline, self.fault)
        one_of("undo_order=", saga.undo_order, UndoOrder, self.fault)
        if saga.on_failed_undo not in tuple(OnFailedUndo):
            self.fault(f"on_failed_undo= is {saga.on_failed_undo!r}: take one of OnFailedUndo")
        if not 1 <= len(saga.steps) <= MAX_STEPS:
            self.fault(f"it has {len(saga.steps)} steps: 1 to {MAX_STEPS} are possible")
        for step in saga.steps:
            if step.name in self.steps:
                self.fault(f"two steps are called {step.name!r}")
            elif not _is_name(step.name):
                self.fault(
                    f"{step.name[:80]!r} cannot be a step's name: use a plain function whose name "
                    f"has at most {MAX_ID_CHARS} letters, digits and '_'"
                )
            self.steps[step.name] = step

    def check_edges(self) -> None:
        previous: str | None = None
        for name, step in self.steps.items():
            after = step.after if step.after is not None else (previous,) if previous else ()
            known: list[str] = []
            for other in after:
                if other not in self.steps:
                    self.fault(f"{name} comes after {other!r}, which is no step of this saga")
                elif other in known:
                    self.fault(f"{name} names {other} twice in after=")
                else:
                    known.append(other)
            self.after[name] = tuple(known)
            previous = name

    def find_ancestors(self) -> None:
        """Transitive predecessors by repeated widening; a step among its own is on a cycle."""
        reached = {name: set(after) for name, after in self.after.items()}
        changed = True
        while changed:
            changed = False
            for name, found in reached.items():
                wider = found.union(*(reached[other] for other in found))
                if wider != found:
                    reached[name], changed = wider, True
        cycle = sorted(name for name, found in reached.items() if name in found)
        if cycle:
            self.fault(f"these steps wait for each other: {', '.join(cycle)}")
        self.ancestors = {name: frozenset(found) for name, found in reached.items()}

    def check_pivot(self) -> str | None:
        kind = self.children.kind
        pivots = [name for name, step in self.steps.items() if kind(step) is StepKind.PIVOT]
        if len(pivots) > 1:
            told = ", ".join(map(self.children.label, pivots))
            self.fault(f"there can be one pivot, not {len(pivots)}: {told}")
        if len(pivots) != 1:
            return None
        pivot = pivots[0]
        for name in self.steps:
            joined = name in self.ancestors[pivot] or pivot in self.ancestors[name]
            if name != pivot and not joined:
                self.fault(
                    f"{name} runs beside the pivot {pivot}: its refusal could come when nothing "
                    f"can be undone any more; join it before the pivot or start it after"
                )
        return pivot

    def bind(self, label: str, step: str, signature: Signature) -> tuple[Bind, ...]:
        """Find the ancestor whose reply each parameter gets."""
        binds: list[Bind] = []
        for parameter in signature.parameters:
            wanted = signature.hints.get(parameter.name)
            plain, takes_none = optional(wanted)
            if isinstance(parameter.default, Reference):
                source = parameter.default.step
                binds.append(Bind(parameter.name, source))
                self.check_reference(f"{label}({parameter.name})", step, source, plain)
                if not takes_none:
                    self.check_absence(f"{label}({parameter.name}", step, source, plain)
                continue
            sources = [
                name
                for name in self.steps
                if name in self.ancestors[step] and _fits(self.reply_of(name), plain)
            ]
            if len(sources) == 1:
                binds.append(Bind(parameter.name, sources[0]))
                if not takes_none:
                    self.check_absence(f"{label}({parameter.name}", step, sources[0], plain)
            elif wanted is None:
                self.fault(f"{label}({parameter.name}) has no annotation: whose reply is it?")
            elif sources:
                self.fault(
                    f"{label}({parameter.name}: {named(plain)}) could be the reply of "
                    f"{' or '.join(sources)}: write = of({sources[-1]})"
                )
            else:
                self.fault(
                    f"{label}({parameter.name}: {named(plain)}): no step before {step} replies so"
                )
        return tuple(binds)

    def check_absence(self, label: str, step: str, source: str, wanted: Any) -> None:
        found = self.steps.get(source)
        skipped = (
            found is not None
            and not found.each
            and (found.when or (found.wait and found.wait.goes_on) or source in self.dispensable)
        )
        early = source in self.ancestors[step] - self.certain[step]
        if skipped or early:
            name, why = named(wanted), "may be skipped" if skipped else "may not be done by then"
            self.fault(f"{label}: {name}): {source} {why}: take {name} | None")

    def check_reference(self, label: str, step: str, source: str, wanted: Any) -> None:
        if source not in self.ancestors[step]:
            self.fault(f"{label}: {source} does not come before {step}")
        elif not _fits(self.reply_of(source), wanted):
            reply = named(self.reply_of(source))
            self.fault(f"{label}: {source} replies {reply}, not {named(wanted)}")

    def reply_of(self, step: str) -> Any:
        """What those get who take the reply of a step; of one over a list, all of them."""
        reply = self.replies.get(step)
        every = reply is not None and self.steps[step].each
        return GenericAlias(list, (reply,)) if every else reply

    def compile_step(self, step: Step[Any, ..., Any], pivot: str | None) -> StepDefinition | None:
        name, signature = step.name, self.signatures[step.name]
        after_pivot = pivot is not None and pivot in self.ancestors[name]
        kind = self.children.kind(step)
        if kind is StepKind.COMPENSATABLE and after_pivot:
            kind = StepKind.RETRIABLE
        timeout = some_seconds(f"{name}: the timeout", step.timeout, self.fault)
        usual = FOR_EVER if after_pivot else Retry()
        retry = usual if step.retry is None else policy(name, step.retry, self.fault)
        one_of(f"on_unknown= of {name}", step.on_unknown, OnUnknown, self.fault)
        binds = self.bind(name, name, signature)
        when = self.compile_condition(step)
        self.check_compensation(step, kind, pivot)
        undo = self.compile_undo(step) if step.undos and step.child is None else None
        if signature.command is None:
            return None
        reply = self.replies.get(name)
        compiled = StepDefinition(
            name=name,
            kind=kind,
            after_pivot=after_pivot,
            fn=step.fn,
            command=signature.command,
            reply=None if reply is type(None) else reply,
            after=self.after[name],
            ancestors=self.ancestors[name],
            binds=binds,
            timeout=timeout,
            retry=retry,
            on_unknown=step.on_unknown,
            undo=undo,
            doc=inspect.getdoc(step.fn) or "",
            when=when,
            wait=step.wait,
            join=step.join,
            each=self.compile_list(step),
            ways=step.ways,
        )
        return self.children.compile(compiled)

    def compile_list(self, step: Step[Any, ..., Any]) -> Fan | None:
        if step.each is None:
            return None
        label, each = f"each= of {step.name}", step.each
        signature = self.read(label, each.items, condition=True)
        binds = self.bind(label, step.name, signature)
        return Fan(each.items, binds, each.most or 0, each.at_once)

    def compile_condition(self, step: Step[Any, ..., Any]) -> Condition | None:
        if step.when is None:
            return None
        label = f"when= of {step.name}"
        signature = self.read(label, step.when, condition=True)
        returned = signature.hints.get("return", bool)
        if returned is not bool:
            self.fault(f"{label} returns {named(returned)}, not bool")
        return Condition(step.when, self.bind(label, step.name, signature))

    def check_compensation(
        self, step: Step[Any, ..., Any], kind: StepKind, pivot: str | None
    ) -> None:
        name = step.name
        if step.child is not None:
            self.children.check(step)
            return
        if kind is StepKind.COMPENSATABLE and not step.undos:
            self.fault(
                f"{name} has no compensation: write one with @{name}.compensation, or make it a "
                f"check if it only reads, or the pivot if nothing after it may refuse"
            )
        if step.undos and kind is not StepKind.COMPENSATABLE:
            why = {
                StepKind.CHECK: "a check changes nothing that could be undone",
                StepKind.PIVOT: "what has passed the pivot is never undone",
                StepKind.WAIT: "to wait changes nothing that could be undone",
                StepKind.RETRIABLE: f"it comes after the pivot {pivot} and is retried until done",
            }[kind]
            self.fault(f"{name} has a compensation, but {why}")
        if len(step.undos) > 1:
            self.fault(f"{name} has {len(step.undos)} compensations: there can be one")

    def compile_undo(self, step: Step[Any, ..., Any]) -> UndoDefinition | None:
        undo = step.undos[-1]
        label = f"compensation {getattr(undo.fn, '__name__', '?')} of {step.name}"
        signature = self.read(label, undo.fn, item=self.items.get(step.name, NO_ITEM))
        reply = self.replies.get(step.name)
        own = self.take_own(signature, reply)
        accepts_unknown = True
        if own is not None and reply is not type(None):
            wanted, accepts_unknown = optional(signature.hints.get(own.name))
            if reply is not None and not _fits(reply, wanted):
                self.fault(
                    f"{label} takes {named(wanted)} second, but {step.name} replies {named(reply)}"
                )
            elif not accepts_unknown and step.on_unknown == "undo":
                self.fault(
                    f"{label}: {step.name} may stay unanswered and is then undone without its "
                    f"reply: take {own.name}: {named(wanted)} | None, or give the step "
                    f'on_unknown="stuck"'
                )
        retry = FOR_EVER if undo.retry is None else policy(label, undo.retry, self.fault)
        whose, span = (step.name, step.timeout) if undo.timeout is None else (label, undo.timeout)
        timeout = some_seconds(f"{whose}: the timeout", span, self.fault)
        binds = self.bind(label, step.name, signature)
        if signature.command is None:
            return None
        return UndoDefinition(
            fn=undo.fn,
            command=signature.command,
            reply=own.name if own else None,
            accepts_unknown=accepts_unknown,
            binds=binds,
            timeout=timeout,
            retry=retry,
        )

    def take_own(self, signature: Signature, reply: Any) -> inspect.Parameter | None:
        """Take off the parameter that gets the reply of the step itself, if there is one.

        It is the second, as the types of `compensation` say; a step that replies nothing has it
        only to reach the ones behind it.
        """
        if not signature.parameters or isinstance(signature.parameters[0].default, Reference):
            return None
        nothing = signature.hints.get(signature.parameters[0].name) is type(None)
        if reply is type(None) and not nothing:
            return None
        return signature.parameters.pop(0)


def compile_saga(saga: Saga[Any]) -> Definition:
    """Verify a saga and make it runnable.

    Raises:
        DefinitionError: with every fault found, not only the first.
    """
    return Verifier(saga).compile()


def _is_name(value: str) -> bool:
    return is_token(value) and len(value) <= MAX_ID_CHARS


def _fits(reply: Any, wanted: Any) -> bool:
    """Whether a reply may be passed where `wanted` is annotated."""
    if get_origin(reply) is list and get_origin(wanted) is list:
        reply, wanted = get_args(reply)[0], get_args(wanted)[0]
    return is_message(reply) and inspect.isclass(wanted) and issubclass(reply, wanted)
