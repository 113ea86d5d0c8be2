"""What notification refuses."""

from restock.kernel.faults import NotFound


class NotificationNotFound(NotFound):
    code = "notification.notification_not_found"
    title = "There is no such notification in your inbox"
