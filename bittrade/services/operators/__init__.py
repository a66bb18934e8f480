"""What staff sees and does through the operators' API, beyond what commands do as well.

`movements` posts money, `requesting` decides whether it waits, `approvals` keeps what waits · `people` shows accounts,
`history` everybody's rows, `figures` and `exposure` what they come to, `machinery` the queues and workers, `house` its settings, `news` what admins are
told of, `notes` what staff writes. An act that a command has too is in one place for both: `auth.staff`, `funds`, `corrections`, `settings`,
`halt`.
"""
