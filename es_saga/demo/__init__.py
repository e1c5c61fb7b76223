"""The demo: a conductor, its participants and a broker, each a process of its own.

    scenario, orders, styles   what can be played, as tables
    stage                      a folder, a NATS server, databases
    processes                  what runs there, and is started again when it dies
    play                       sagas are started, watched, and met by their fates
    verdict                    every total is counted again

NATS, the databases and the deaths are real. `es_saga.demo.demo` puts it together.
"""
