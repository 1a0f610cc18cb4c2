"""Adding, removing and renaming of services, and ejection of the engine."""
