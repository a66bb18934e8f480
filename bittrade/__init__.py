"""BitTrade: buy and sell bitcoin against rupees. `create_app` puts the parts together."""

from typing import TYPE_CHECKING

from flask import Flask

if TYPE_CHECKING:
    from config import Config


def create_app(config: "Config | None" = None) -> Flask:
    """The application for a configuration; by default the one that the environment names."""
    from bittrade import api, cli, extensions, logs, query_times, sockets, telemetry

    if config is None:
        import config as configuration

        config = configuration.load()
    app = Flask(__name__, instance_relative_config=True, static_folder=None)
    app.config.from_object(config)
    logs.init_logging(app)
    logs.say_mode(config.BITTRADE_ENV)
    extensions.init_app(app)
    query_times.init_app(app)
    telemetry.init_app(app)
    sockets.init_sockets(app)
    api.init_api(app)
    cli.init_cli(app)
    return app
