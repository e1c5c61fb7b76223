"""The parts of `es_saga.testing.explore`: what can happen, what is the same, and the search."""
