"""The engines Restock stands on, from their wheels: start, ready, stop.

`datadir` is the directory they live in, `processes` what was started there, `postgres` and `nats`
the engines. A URL in the settings replaces each.
"""
