"""BitTrade's rules: pure functions and values. No clock, no configuration, no framework."""
