"""The benchmark: one script per question, each figure a ratio of two sides measured in turn.

`python -m bench` asks; `questions/` has the questions, everything else is what they stand on:

effort     how long and how often
stage      the systems under measurement, started when first needed
restock, nestjs, envoy, nodejs, crowd   what can be started and measured
tenants, shelves                        accounts and their items, by API and by SQL
wrk, pgbench                            load
processes  processor time and memory of process trees
contest    sides in turn, round after round
figures, report, machine                what came out, and on what
"""
