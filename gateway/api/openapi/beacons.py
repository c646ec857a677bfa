"""The description of the route for reports of browsers. The model that checks reports gives the schema."""

from collections.abc import Mapping

from gateway.api.beacon import Beacon
from gateway.api.openapi.schema import STRING, Json, error, with_preflight

_SCHEMA: Json = Beacon.model_json_schema(ref_template="#/components/schemas/{model}")
_REF: Json = {"$ref": "#/components/schemas/Beacon"}

_EXAMPLE: Json = {
    "version": 1,
    "loads": {"loaded": 48, "recovered": 1, "failed": 1},
    "retries": {"unavailable": 2},
    "sources": {"cache": 20, "network": 29},
    "attempts": 52,
    "seconds": {"buckets": [20, 9, 14, 5, 0, 0, 1, 0, 0, 0], "sum": 9.7, "count": 49},
    "paints": {"network": {"buckets": [0, 0, 0, 1, 0, 0, 0, 0, 0, 0], "sum": 1.2, "count": 1}},
    "sizes": {"network": {"buckets": [0, 0, 2, 27, 0, 0, 0, 0, 0, 0], "sum": 611000, "count": 29}},
}

BEACON_SCHEMAS: Mapping[str, Json] = {
    "Beacon": {name: value for name, value in _SCHEMA.items() if name != "$defs"} | {"examples": [_EXAMPLE]},
    "LoadTimes": _SCHEMA["$defs"]["LoadTimes"] | {"examples": [_EXAMPLE["seconds"]]},
    "PaintTimes": _SCHEMA["$defs"]["PaintTimes"] | {"examples": [_EXAMPLE["paints"]["network"]]},
    "PictureSizes": _SCHEMA["$defs"]["PictureSizes"] | {"examples": [_EXAMPLE["sizes"]["network"]]},
}

BEACON_PATHS: Mapping[str, Json] = with_preflight(
    {
        "/api/v1/monitoring/beacons": {
            "post": {
                "operationId": "beacons",
                "summary": "What a page's browser saw, as counts.",
                "security": [{}],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": _REF},
                        # As sendBeacon sends a string: without a CORS preflight.
                        "text/plain": {
                            "schema": {**STRING, "contentMediaType": "application/json", "contentSchema": _REF}
                        },
                    },
                },
                "responses": {
                    "204": {"description": "counted"},
                    "400": error("the body is not valid"),
                    "408": error("the body did not arrive in time"),
                    "413": error("the body is larger than 16 kB"),
                    "415": error("the type is neither text/plain nor application/json"),
                    "429": error("too many of one client address; see Retry-After"),
                },
            }
        }
    }
)
