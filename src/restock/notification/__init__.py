"""Notification: what happened reaches the people it concerns, at once or when they come back.

owns       inboxes, and the feeds they are read and replayed from
serves     /api/notifications, and Socket.IO at /socket.io
publishes  nothing on JetStream; push.user.<id> between its own processes
consumes   inventory.item.fell_low|ran_out|recovered, vendor.vendor.registered,
           vendor.request.opened|responded|fulfilled

Beside the files every service has: engine.py, the Socket.IO server; links.py, one client of it,
and packets.py, what it says; streams.py and polling.py, the websocket or the polls that carry it;
sockets.py, who may connect and what is in which room; connection.py, one socket's place in its
feed; positions.py, where a client resumes; pushes.py, the news between processes,
and ears.py, who hears it.
"""

from restock.kernel.service import Service
from restock.notification.consumers import CONSUMERS
from restock.notification.routes import ROUTES
from restock.notification.settings import Settings, socket_ports
from restock.notification.sockets import mount_sockets, open_sockets, socket_runs
from restock.notification.streams import Stream

SERVICE = Service(
    name="notification",
    port=3102,
    package="restock.notification",
    settings=Settings,
    routes=ROUTES,
    consumers=CONSUMERS,
    open=open_sockets,
    mount=mount_sockets,
    runs=socket_runs,
    extra_ports=socket_ports,
    websocket=Stream,
)
