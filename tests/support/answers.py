"""Invalid answers, keyed by what is wrong with them, and valid ones."""

EMPTY = {"empty": "", "blank": "   ", "a tab": "\t"}

# Keyed by what is wrong; `SANDBOX` stands for a folder that the test may write to.
BAD_NAMES = EMPTY | {
    "not ASCII": "größe",
    "Cyrillic look-alike": "g\N{CYRILLIC SMALL LETTER A}teway",
    "upper case": "Gateway",
    "a leading digit": "3d",
    "only digits": "123",
    "a leading dash": "-shop",
    "a trailing dash": "shop-",
    "a trailing underscore": "shop_",
    "two dashes": "a--b",
    "an underscore and a dash": "a_-b",
    "a space": "my shop",
    "a dot": "my.shop",
    "a separator": "a/b",
    "a Windows separator": "a\\b",
    "a parent": "..",
    "a parent and a name": "../evil",
    "the current folder": ".",
    "a full path": "SANDBOX/evil",
    "a home": "~",
    "a drive": "c:",
    "double quotes": 'a"b',
    "three double quotes": '"""',
    "single quotes": "a'b",
    "a line break": "a\nb",
    "a trailing line break": "shop\n",
    "a carriage return": "a\rb",
    "braces": "{x}",
    "Jinja that makes a bad name": "{{ 7 * 7 }}",
    "Jinja in braces": "{{ '{{ x }}' }}",
    "a shell command": "$(id)",
    "a keyword": "class",
    "another keyword": "import",
    "the standard library": "json",
    "the standard library of a later Python": "compression",
    "the standard library of an earlier Python": "imp",
    "a folder of the project": "vendor",
    "another folder of the project": "tests",
    "a module of the project": "tasks",
    "a device": "con",
    "a numbered device": "lpt1",
    "21 characters": "a" * 21,
    "300 characters": "a" * 300,
}

BAD_TEXTS = EMPTY | {
    "a line break": "Ann\nBob",
    "a carriage return": "Ann\rBob",
    "a tab": "Ann\tBob",
    "an escape": "Ann\x1b[31mBob",
    "a NUL": "Ann\0Bob",
    "a line separator": "Ann\u2028Bob",
    "a lone surrogate": "Ann\udcffBob",
    "letters that run backwards": "Ann\u202eBob",
    "a leading blank": " Ann",
    "a trailing blank": "Ann ",
    "Jinja, once rendered": "{{ '{{ x }}' }}",
    "a Jinja block, once rendered": "{{ '{% x %}' }}",
    "a Jinja comment, once rendered": "{{ '{# x #}' }}",
}
BAD = {
    "project_name": BAD_TEXTS,
    "author": BAD_TEXTS,
    "project_slug": BAD_NAMES | {"snake case": "my_shop"},
    "service": BAD_NAMES
    | {
        "snake case": "my_shop",
        "a package that it imports": "fastapi",
        "a package that it imports, in kebab-case": "pydantic-settings",
        "a package of a package": "starlette",
    },
    "resource": BAD_NAMES
    | {
        "kebab case": "line-item",
        "the class of a builtin": "value_error",
        "the class of a keyword": "none",
    },
}

GOOD = {
    "project_name": ["A", "Shop 24/7", "Ünïcode Ltd. 日本", "{x} }} %}", "a" * 200],
    "author": ["Ann", "Ann O'Neil <ann@example.org>", 'Ann "the \\ Bob" 🦕', "علی‌رضا"],
    "project_slug": ["a", "my-shop", "shop-24", "a" * 20, "api", "redis"],
    "service": ["a", "billing", "customer-billing-api", "b-2", "api", "users", "match"],
    "resource": ["a", "line_item", "purchase_order_lines", "c_3", "user", "case", "order", "type"],
}
