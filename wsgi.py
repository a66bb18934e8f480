"""The gunicorn door."""

from bittrade import create_app

app = create_app()
