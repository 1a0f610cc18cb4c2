"""Server process: `python -m {{ cookiecutter.__package }}`."""

from servicebase.serve import serve

from .settings import Settings

if __name__ == "__main__":
    serve(Settings, "{{ cookiecutter.__package }}.bootstrap:bootstrap")
