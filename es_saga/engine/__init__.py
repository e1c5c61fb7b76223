"""The loops around the core. The engine knows ports, never technologies."""
