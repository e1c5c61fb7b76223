"""The benchmark behind `es-saga bench`: ours and the floor under it, side by side.

    orders          the saga that is run, and its participants
    load            keeps so many sagas in flight, and counts
    cost            processor time, memory and disk of processes
    engine          the engine alone: memory transport, a real log        floor: log_floor
    system          everything: broker, manager, participants             floor: pipe_floor
    flow            the same order, by services that react to each other
    services        the participants, in a process of their own
    process         how such processes are started and ended
    backlog         start-up, and a log with many open sagas
    projections     the read models: catching up, rebuilding, answering, being behind
    sample_log      the log that they read
    styles          saga, try-confirm-cancel and two-phase, under the same faults
    styled          the business that they have in common
    outbox          from a service's commit until another one has its event
    plan            which of these are run, one after the other

Rates depend on what else the machine does; processor time a saga much less.
"""
