"""REST: each handler parses, makes one service call, and serialises."""

from flask import Flask

from bittrade.api import auth, errors, health, market, requests, trade, user_data
from bittrade.api.openapi import register_openapi


def init_api(app: Flask) -> None:
    """Bind the blueprints, the error answers and the OpenAPI document."""
    requests.init_app(app)
    errors.init_app(app)
    for module in (auth, market, trade, user_data, health):
        app.register_blueprint(module.blueprint)
    register_openapi(app)
