"""What a developer's machine needs and a server never does: `make run`, its embedded services and its price simulator."""
