"""Entry point of `python -m gateway`."""

from servicebase.serve import serve

from .settings import Settings

if __name__ == "__main__":
    serve(Settings, "gateway.bootstrap:bootstrap")
