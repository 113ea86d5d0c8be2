"""What vendor refuses, and the stable codes it does so under."""

from restock.kernel.faults import Conflict, Forbidden, Invalid, NotFound, Unavailable


class VendorNotFound(NotFound):
    code = "vendor.not_found"
    title = "There is no such vendor"


class VendorEmailTaken(Conflict):
    code = "vendor.email_taken"
    title = "A vendor with this email is already registered"


class VendorInactive(Conflict):
    code = "vendor.inactive"
    title = "This vendor takes no requests at the moment"


class NotTheVendorsPeople(Forbidden):
    code = "vendor.not_its_people"
    title = "Only the vendor's own people may do this"


class EditForbidden(Forbidden):
    code = "vendor.edit_forbidden"
    title = "This is not yours to change"


class ItemNotFound(NotFound):
    code = "vendor.item_not_found"
    title = "There is no such item in your workspace"


class RequestNotFound(NotFound):
    code = "vendor.request_not_found"
    title = "There is no such request"


class RequestAlreadyOpen(Conflict):
    """Carries `openRequestId`, the request that is open."""

    code = "vendor.request_open"
    title = "You already have an open request to this vendor for this item"


class StepOutOfOrder(Conflict):
    """Carries `current`, the status the request has."""

    code = "vendor.step_out_of_order"
    title = "A request goes from pending to responded to fulfilled, one step at a time"


class RequestInvalid(Invalid):
    code = "vendor.request_invalid"
    title = "Some fields are not acceptable"


class InventoryAway(Unavailable):
    code = "vendor.inventory_unavailable"
    title = "The item can't be looked up at the moment: try again"
