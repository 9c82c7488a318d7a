"""What management says no to, as the admin API and the command line tell it."""


class ManagementRefused(ValueError):
    """A change that is not possible; the message says why and what would be."""


class Unknown(ManagementRefused):
    """What was named does not exist."""
