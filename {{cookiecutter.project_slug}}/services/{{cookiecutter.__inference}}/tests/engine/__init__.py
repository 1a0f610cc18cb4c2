"""An inference engine that needs no download."""
