"""The text of a CHECK constraint as a tree of few kinds of nodes, for others to read."""

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import sqlglot
from sqlglot import exp
from sqlglot.optimizer.simplify import simplify

Node: TypeAlias = exp.Expr

_PATTERN = re.compile(r"\\(.)|([%_])|(.)", re.DOTALL)
"""What a pattern of LIKE is made of: what is escaped, a wildcard, or anything else."""


def read(text: str) -> Node:
    """Return a condition as a tree: without BETWEEN, and with NOT only where it has no other sign.

    Raises:
        SqlglotError: it is not understood.
    """
    tree: Node = sqlglot.parse_one(text, dialect="postgres")
    # From the leaves up, so that what is put together here is of plain parts.
    for node in reversed(list(tree.bfs())):
        plain = _plain(node)
        if node is tree:
            tree = plain
        elif plain is not node:
            node.replace(plain)
    simple: Node = simplify(tree)
    return simple


def pattern_parts(pattern: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a pattern of LIKE: a wildcard and "", or "" and a character."""
    for escaped, wildcard, plain in _PATTERN.findall(pattern):
        yield wildcard, escaped or plain


def regex(pattern: str, *, ignores_case: bool) -> re.Pattern[str]:
    """Return the regular expression that matches what a pattern of LIKE, or ILIKE, does."""
    words = {"%": ".*", "_": "."}
    text = "".join(words.get(wild) or re.escape(each) for wild, each in pattern_parts(pattern))
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignores_case else 0))


def _plain(node: Any) -> Node:
    """Return a node, or one that says the same by nodes that are read."""
    if node.args.get("negate"):
        # Where older releases of sqlglot have a NOT, those from 30.30 on have a flag.
        positive = node.copy()
        positive.set("negate", None)
        return _not(_plain(positive))
    rewrite = _REWRITTEN.get(type(node))
    return rewrite(node) if rewrite else node


def _equal(node: Any) -> Node:
    """Rewrite `=` and `<>` between two conditions as AND and OR of them."""
    left, right = node.this.unnest(), node.expression.unnest()
    differ = isinstance(node, exp.NEQ | exp.NullSafeNEQ)
    if isinstance(left, _CONDITIONS) or isinstance(right, _CONDITIONS):
        same = exp.or_(exp.and_(left, right), exp.and_(_not(left), _not(right)))
        return _not(same) if differ else exp.paren(same)
    return (exp.NEQ if differ else exp.EQ)(this=left.copy(), expression=right.copy())


def _is(node: exp.Is) -> Node:
    """Rewrite `IS TRUE` and `IS FALSE`, and what `IS NULL` asks of all arguments of COALESCE."""
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
    """Rewrite CASE, where its results are conditions, as OR of its branches."""
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
"""The kinds of nodes that hold or not, whatever else there is."""
_REWRITTEN: dict[type[Node], Callable[[Any], Node]] = {
    **dict.fromkeys(_SAME, _equal),
    exp.Is: _is,
    exp.Case: _case,
}
