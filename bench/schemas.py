"""What a schema library adds to a request: `python -m bench.schemas`. Knows nothing of BitTrade's own code.

Every candidate serves the same two routes with orjson: POST /trade (four fields) and GET /list?limit=
(50 rows). Calls go straight to `wsgi_app`, candidates take turns, and the clock is this process's CPU time.
"""

import io
import time
from statistics import median
from typing import Annotated, Any, Literal

import orjson
from flask import Flask, make_response, request
from werkzeug.test import create_environ

ROUNDS, CALLS = 200, 50
CANDIDATES = {  # a library and its schemas: the ways to run it
    "flask-smorest + marshmallow": [""],
    "APIFlask + marshmallow": [""],
    "APIFlask + pydantic": [""],
    "flask-openapi3 + pydantic": ["", ", answers checked"],
    "spectree + pydantic": [", own reader", "", ", answers checked"],
    "spectree + msgspec": [", own reader", "", ", answers checked"],
}
CHOICES = {"action": ("buy", "sell"), "type": ("market",), "currency": ("inr", "btc")}
ORDER = {"action": "buy", "type": "market", "amount": "1000", "currency": "inr"}
FILL = {"id": 7, "action": "buy", "inr_amount": 1000, "btc_amount": 24420, "at": "2024-07-20T10:30:00.000Z"}
ROWS = [FILL | {"id": n} for n in range(50)]
REQUESTS = [create_environ("/trade", json=ORDER, method="POST"), create_environ("/list?limit=50")]
REFUSED = [create_environ("/trade", json={"type": "limit"}, method="POST"), create_environ("/list?limit=0")]


def models(library: str) -> list[type]:
    if library == "marshmallow":
        from marshmallow import Schema, fields
        from marshmallow.validate import OneOf, Range

        order = {name: fields.Str(required=True, validate=OneOf(good)) for name, good in CHOICES.items()}
        page = {"limit": fields.Int(load_default=50, validate=Range(1, 200))}
        fill = {name: fields.Int() if isinstance(it, int) else fields.Str() for name, it in FILL.items()}
        rows = {"rows": fields.List(fields.Nested(Schema.from_dict(fill, name="Row")))}
        shapes = (order | {"amount": fields.Str(required=True)}, page, fill, rows)
        return [Schema.from_dict(shape, name=f"Model{nth}") for nth, shape in enumerate(shapes)]
    module = __import__(library)
    base, rule = (module.Struct, module.Meta) if library == "msgspec" else (module.BaseModel, module.Field)

    def model(name: str, hints: dict[str, Any], **defaults: Any) -> type:
        return type(base)(name, (base,), {"__annotations__": hints, "__module__": __name__, **defaults})

    order = model("Order", {"amount": str} | {name: Literal[good] for name, good in CHOICES.items()})
    page = model("Page", {"limit": Annotated[int, rule(ge=1, le=200)]}, limit=50)
    fill = model("Fill", {name: type(value) for name, value in FILL.items()})
    return [order, page, fill, model("Rows", {"rows": list[fill]})]


def build(library: str, schemas: str, way: str) -> Flask:
    app, (order, page, fill, listing) = Flask(__name__), models(schemas)

    def trade(*_, **__):
        return FILL

    def rows(*args, **named):
        (asked,) = args or named.values()
        return {"rows": ROWS[: asked["limit"] if isinstance(asked, dict) else asked.limit]}

    trade.__annotations__, rows.__annotations__ = {"body": order, "json": order}, {"query": page}
    if library == "flask-smorest":
        from flask_smorest import Api, Blueprint

        app.config.update(API_TITLE="bench", API_VERSION="1", OPENAPI_VERSION="3.1.0")
        bp = Blueprint("bench", __name__)
        bp.post("/trade")(bp.arguments(order)(bp.response(200, fill)(trade)))
        bp.get("/list")(bp.arguments(page, location="query")(bp.response(200, listing)(rows)))
        Api(app).register_blueprint(bp)
    elif library == "APIFlask":
        app = __import__("apiflask").APIFlask(__name__)
        app.post("/trade")(app.input(order)(app.output(fill)(trade)))
        app.get("/list")(app.input(page, location="query")(app.output(listing)(rows)))
    elif library == "flask-openapi3":
        app = __import__("flask_openapi3").OpenAPI(__name__, validate_response=bool(way))
        app.post("/trade", responses={200: fill})(trade)
        app.get("/list", responses={200: listing})(rows)
    else:
        import spectree
        from spectree.plugins.flask_plugin import Context, FlaskPlugin

        class Trusting(FlaskPlugin):
            def validate_response(self, resp, *_):
                return make_response(resp), None

        class OwnReader(Trusting):
            def request_validation(self, request, query, json, *_):
                reads = self.model_adapter.validate_obj
                asked = query and reads(query, request.args.to_dict())
                request.context = Context(asked, json and reads(json, request.json), None, None, None)

        plugin = {"": Trusting, ", own reader": OwnReader}.get(way, FlaskPlugin)
        adapter = getattr(spectree, f"get_{schemas}_model_adapter")()
        api = spectree.SpecTree(backend=plugin, model_adapter=adapter)
        app.post("/trade")(api.validate(resp=spectree.Response(HTTP_200=fill))(trade))
        app.get("/list")(api.validate(resp=spectree.Response(HTTP_200=listing))(rows))
    return app


def plain(app: Flask) -> Flask:
    @app.post("/trade")
    def trade():
        body = request.get_json()
        good = all(body.get(name) in allowed for name, allowed in CHOICES.items())
        return FILL if good and isinstance(body.get("amount"), str) else ({"error": "Invalid order"}, 400)

    @app.get("/list")
    def rows():
        limit = request.args.get("limit", 50, type=int)
        return {"rows": ROWS[:limit]} if 1 <= limit <= 200 else ({"error": "Invalid limit"}, 400)

    return app


def ask(app: Flask, environ: dict[str, Any], times: int = 1) -> tuple[float, int, Any]:
    sent, seen, began = environ["wsgi.input"].getvalue(), [], time.process_time_ns()
    for _ in range(times):
        call = environ | {"wsgi.input": io.BytesIO(sent)}
        answer = app.wsgi_app(call, lambda status, *_: seen.append(status))
        payload = b"".join(answer)
        answer.close()
    return (time.process_time_ns() - began) / times / 1000, int(seen[-1][:3]), orjson.loads(payload)


def main() -> None:
    apps = {"plain Flask, by hand (in all)": plain(Flask(__name__))}
    for name, way in [(name, way) for name, ways in CANDIDATES.items() for way in ways]:
        try:
            apps[name + way] = build(*name.split(" + "), way)
        except ImportError as missing:
            print(f"skipped: {name}{way}: {missing}")
    for name, app in apps.items():  # each has to answer, and refuse, as plain Flask does
        app.json.dumps, app.json.loads = lambda value, **_: orjson.dumps(value).decode(), orjson.loads
        assert [ask(app, environ)[1:] for environ in REQUESTS] == [(200, FILL), (200, {"rows": ROWS})], name
        assert all(ask(app, environ)[1] in (400, 422) for environ in REFUSED), name
    rounds = [[[ask(app, r, CALLS)[0] for r in REQUESTS] for app in apps.values()] for _ in range(ROUNDS)]
    print(f"{'added µs a request':44}{'POST /trade':>14}{'GET /list':>14}")
    for nth, name in enumerate(apps):
        added = [median(r[nth][q] - (r[0][q] if nth else 0) for r in rounds) for q in (0, 1)]
        print(f"{name:44}{added[0]:14.0f}{added[1]:14.0f}")


if __name__ == "__main__":
    main()
