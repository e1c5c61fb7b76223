"""The parts of `es_saga.testing.exploring`: what can happen, what is the same, and the search."""
