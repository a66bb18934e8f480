"""The outside world, one module per source: fetch over HTTP, parse with pure functions, raise ProviderError.

Nothing here knows the database, Redis, Flask or the tables; a caller gets values of `bittrade.domain.pricing`.
"""
