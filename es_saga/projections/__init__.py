"""Read models: views of the log that can be dropped and built again from it."""
