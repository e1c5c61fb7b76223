"""What can happen to a saga: the classes of its events, for projections to match on.

match recorded.event:
    case events.StepSucceeded(step="reserve", reply=reply):
        ...
"""

from es_saga.core.events import (
    CompensationFailed,
    CompensationIssued,
    CompensationStarted,
    CompensationSucceeded,
    DeadlineExceeded,
    LateReplyNoted,
    OperatorCancelled,
    OperatorEvent,
    OperatorResolved,
    OperatorRetried,
    OperatorSkipped,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
    SagaStarted,
    SagaStuck,
    SignalReceived,
    StepFailed,
    StepRefused,
    StepRetried,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepTimedOut,
)

__all__ = [
    "CompensationFailed",
    "CompensationIssued",
    "CompensationStarted",
    "CompensationSucceeded",
    "DeadlineExceeded",
    "LateReplyNoted",
    "OperatorCancelled",
    "OperatorEvent",
    "OperatorResolved",
    "OperatorRetried",
    "OperatorSkipped",
    "SagaCompensated",
    "SagaCompleted",
    "SagaEvent",
    "SagaStarted",
    "SagaStuck",
    "SignalReceived",
    "StepFailed",
    "StepRefused",
    "StepRetried",
    "StepSkipped",
    "StepStarted",
    "StepSucceeded",
    "StepTimedOut",
]
