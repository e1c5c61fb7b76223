"""The pure core: values in, values out. No clock, no ids, no I/O, no logging."""
