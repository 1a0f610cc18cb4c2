"""The tier `load`: how many requests a service takes, and how long each one waits."""
