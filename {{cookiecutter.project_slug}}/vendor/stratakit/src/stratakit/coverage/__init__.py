"""Coverage gates for services and libraries, over the unit and integration tiers combined."""
