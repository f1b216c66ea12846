"""Models by name, and models that begin with the weights of others."""
