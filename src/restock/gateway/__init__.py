"""Gateway: the one way in. It is Envoy; the process here renders, starts and watches it.

owns       the public routes, token check, limits, CORS, sockets' routing
serves     /health of the whole, /docs, /openapi.json, /events.html
asks       every service, for its health and its OpenAPI document
publishes  nothing
consumes   nothing

Beside the files every service has:

routes_table.py  what is public, as data
envoy.py         the whole configuration; edge.py its listener, filters.py the checks a request
                 passes, matching.py the table as Envoy's routes, clusters.py where services are,
                 refusals.py Envoy's own answers as problem documents, admin.py its admin
supervision.py   Envoy as a child: start, drain, end; leash.py ends it when this process is killed
readiness.py     the health of the whole; reference.py all OpenAPI documents as one;
                 pages.py what people read; keeping.py what is not made anew for each of them
"""

from restock.gateway.readiness import health, open_services
from restock.gateway.routes import ROUTES
from restock.gateway.settings import PROCESS_PORT, Settings
from restock.gateway.supervision import EnvoySupervision
from restock.kernel.service import Context, Run, Service


def _runs(context: Context) -> list[Run]:
    settings: Settings = context.settings
    return [EnvoySupervision(settings, context.log)] if settings.run_envoy else []


SERVICE = Service(
    name="gateway",
    port=PROCESS_PORT,
    package="restock.gateway",
    settings=Settings,
    routes=ROUTES,
    open=open_services,
    runs=_runs,
    database=False,
    nats=False,
    health=health,
)
