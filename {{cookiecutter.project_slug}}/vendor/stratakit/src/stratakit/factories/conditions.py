"""Parser of CHECK constraints, which simplifies them to a tree of few kinds of nodes."""

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import sqlglot
from sqlglot import exp
from sqlglot.optimizer.simplify import simplify

Node: TypeAlias = exp.Expr

_PATTERN = re.compile(r"\\(.)|([%_])|(.)", re.DOTALL)
"""Parts of a LIKE pattern: an escaped character, a wildcard, or any other character."""


def read(text: str) -> Node:
    """Return a condition as a tree without BETWEEN, and with NOT only where no operator negates.

    Raises:
        SqlglotError: the text cannot be parsed.
    """
    tree: Node = sqlglot.parse_one(text, dialect="postgres")
    # From the leaves up, so that rewritten nodes consist of rewritten parts.
    for node in reversed(list(tree.bfs())):
        plain = _plain(node)
        if node is tree:
            tree = plain
        elif plain is not node:
            node.replace(plain)
    simple: Node = simplify(tree)
    return simple


def pattern_parts(pattern: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a LIKE pattern: a wildcard and "", or "" and a character."""
    for escaped, wildcard, plain in _PATTERN.findall(pattern):
        yield wildcard, escaped or plain


def regex(pattern: str, *, ignores_case: bool) -> re.Pattern[str]:
    """Return the regular expression that is equivalent to a LIKE or ILIKE pattern."""
    words = {"%": ".*", "_": "."}
    text = "".join(words.get(wild) or re.escape(each) for wild, each in pattern_parts(pattern))
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignores_case else 0))


def _plain(node: Any) -> Node:
    """Return a node, rewritten with supported kinds of nodes if necessary."""
    if node.args.get("negate"):
        # sqlglot 30.30 and later use a flag where older releases have a NOT node.
        positive = node.copy()
        positive.set("negate", None)
        return _not(_plain(positive))
    rewrite = _REWRITTEN.get(type(node))
    return rewrite(node) if rewrite else node


def _equal(node: Any) -> Node:
    """Rewrite `=` and `<>` between two conditions with AND and OR."""
    left, right = node.this.unnest(), node.expression.unnest()
    differ = isinstance(node, exp.NEQ | exp.NullSafeNEQ)
    if isinstance(left, _CONDITIONS) or isinstance(right, _CONDITIONS):
        same = exp.or_(exp.and_(left, right), exp.and_(_not(left), _not(right)))
        return _not(same) if differ else exp.paren(same)
    return (exp.NEQ if differ else exp.EQ)(this=left.copy(), expression=right.copy())


def _is(node: exp.Is) -> Node:
    """Rewrite `IS TRUE` and `IS FALSE`, and `COALESCE(...) IS NULL` for each of its arguments."""
    subject, value = node.this.unnest(), node.expression
    if isinstance(value, exp.Boolean):
        there = _not(exp.Is(this=subject.copy(), expression=exp.null()))
        return exp.paren(exp.and_(_equal(exp.EQ(this=subject, expression=value)), there))
    if isinstance(subject, exp.Coalesce):
        parts = (subject.this, *subject.expressions)
        nulls = (exp.Is(this=each.copy(), expression=value.copy()) for each in parts)
        return exp.paren(exp.and_(*nulls))
    return node


def _case(node: exp.Case) -> Node:
    """Rewrite CASE as OR of its branches, if its results are conditions."""
    operand, otherwise = node.this, node.args.get("default") or exp.true()
    branches = node.args["ifs"]
    results = [*(each.args["true"] for each in branches), otherwise]
    if not all(isinstance(each.unnest(), (*_CONDITIONS, exp.Boolean)) for each in results):
        return node
    before: list[Node] = []
    cases = []
    for branch in branches:
        asked = branch.this
        asked = exp.EQ(this=operand.copy(), expression=asked.copy()) if operand else asked
        cases.append(exp.and_(*before, asked, branch.args["true"]))
        before.append(_not(asked))
    return exp.paren(exp.or_(*cases, exp.and_(*before, otherwise)))


def _not(node: Node) -> Node:
    return exp.Not(this=exp.Paren(this=node.copy()))


_SAME = (exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.NullSafeNEQ)
_CONDITIONS = (
    *(*_SAME, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between, exp.And, exp.Or, exp.Not, exp.Is),
    *(exp.In, exp.Like, exp.ILike, exp.SimilarTo, exp.RegexpLike, exp.RegexpILike),
)
"""Types of nodes that are conditions."""
_REWRITTEN: dict[type[Node], Callable[[Any], Node]] = {
    **dict.fromkeys(_SAME, _equal),
    exp.Is: _is,
    exp.Case: _case,
}
