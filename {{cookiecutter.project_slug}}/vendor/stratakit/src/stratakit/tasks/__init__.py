"""The actions that tasks.py puts together: thin, over functions that fixtures call as well."""
