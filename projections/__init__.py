"""Read models of the reference business: what its people look at, made from the saga log alone."""
