"""The simulated world, piece by piece: its event loop, its network, its processes, its services."""
