"""One migration a file, in the order of their numbers. A released one is never changed."""
