"""What RQ runs, and when.

`market` holds the jobs: thin functions that call one service each. `schedule` is the table of what runs when, and keeps
rq-scheduler's entries in Redis equal to it. `scheduler` turns due entries into queued runs. Only `worker.py` uses these.
"""
