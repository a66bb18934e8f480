"""REST: each handler parses, makes one service call, and serialises."""

from flask import Flask

from bittrade.api import (
    account,
    admin,
    asyncapi,
    auth,
    caching,
    errors,
    events,
    health,
    keys,
    ledger,
    limits,
    loans,
    market,
    orders,
    pages,
    plans,
    profile,
    requests,
    trade,
    transfers,
    user_data,
)
from bittrade.api.front import init_front
from bittrade.api.openapi import register_openapi
from bittrade.api.ready import init_ready


def init_api(app: Flask) -> None:
    """Bind the blueprints, the error answers and the API's descriptions."""
    app.url_map.merge_slashes = False  # or `/api//trade` is an HTML page that says where to go
    requests.init_app(app)
    caching.init_app(app)
    limits.init_app(app)
    errors.init_app(app)
    for module in (
        auth,
        account,
        profile,
        keys,
        market,
        trade,
        orders,
        plans,
        transfers,
        loans,
        user_data,
        ledger,
        events,
        health,
        asyncapi,
        pages,
    ):
        app.register_blueprint(module.blueprint)
    for blueprint in admin.BLUEPRINTS:
        app.register_blueprint(blueprint)
    register_openapi(app)
    pages.init_pages(app)
    init_front(app)
    init_ready(app)
