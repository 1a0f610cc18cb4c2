"""The {{ cookiecutter.service }} service."""
