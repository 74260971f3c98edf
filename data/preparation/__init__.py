"""How each dataset becomes lists: one module a dataset, and what they share."""
