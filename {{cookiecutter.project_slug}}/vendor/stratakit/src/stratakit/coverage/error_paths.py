"""Error paths: the lines that run when something goes wrong.

They are the lines in the bodies of `except` and `except*` blocks, with all that is nested in them,
and `raise` statements wherever they stand. Of those count the ones that coverage counts at all:
executable, reachable, and not excluded by a comment or a pattern.

Coverage knows lines, not statements: in `if wrong: raise Error`, both run when the `if` does.
"""

import ast


def error_lines(source: bytes) -> frozenset[int]:
    """Return the numbers of the lines of `source` that belong to error paths.

    Raises:
        SyntaxError: it is no Python.
    """
    lines: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            lines.update(*map(_lines, node.body))
        elif isinstance(node, ast.Raise):
            lines.update(_lines(node))
    return frozenset(lines)


def _lines(statement: ast.stmt) -> range:
    # A function begins with its decorators; its own line is that of `def`.
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    first = min(statement.lineno, *(each.lineno for each in decorators), statement.lineno)
    return range(first, (statement.end_lineno or first) + 1)
