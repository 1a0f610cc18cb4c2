"""Judge how much of the services and libraries the tiers unit and integration run together."""
