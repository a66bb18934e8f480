"""What happened in this process, counted by name, since it began. `services/traffic.py` shows it to operators."""

from collections import Counter

counts: Counter[str] = Counter()
