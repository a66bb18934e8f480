"""What RQ runs, and when.

`market`, `maintenance` and `ledger` hold the jobs: thin functions that call one service each, wrapped by `alone`.
`schedule` is the table of what runs when, and keeps rq-scheduler's entries in Redis equal to it. `scheduler` turns due
entries into queued runs. Only `worker.py` uses these.
"""
