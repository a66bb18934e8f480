"""Drills: BitTrade under load and under faults, on services of its own, with a checker that proves the books after.

`python -m drills` says what it does; docs/drills.md says what each drill shows. It knows the application from outside:
HTTP, the operators' commands and the tables. Only `people_and_prices` runs inside it.
"""
