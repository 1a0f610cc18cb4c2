"""Services that come and go, and an engine that becomes the team's own."""
