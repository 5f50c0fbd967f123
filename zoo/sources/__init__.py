"""How bytes arrive: one file a scheme."""
