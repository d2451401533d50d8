"""Judges pairs of answers with math-verify, to compare package eval/answer with.

    python answers.py < PAIRS

PAIRS is a JSON list of pairs of answers. Prints {"versions": …, "same": […]}, one verdict a pair: whether the library takes
the answers for the same in either direction, as the paper's evaluation does. An answer is read as the content of a box; if
that has no meaning to the library, as plain text.
"""

import importlib.metadata
import json
import logging
import sys

from math_verify import parse, verify

TIMEOUT = 60  # seconds; what no pair needs, so that a busy machine changes no verdict


def read(answer: str) -> list:
    boxed = parse("\\boxed{" + answer + "}", parsing_timeout=TIMEOUT)
    if all(isinstance(reading, str) for reading in boxed):
        return parse(answer, parsing_timeout=TIMEOUT) or boxed
    return boxed


def same(a: str, b: str) -> bool:
    left, right = read(a), read(b)
    return any(verify(*pair, timeout_seconds=TIMEOUT) for pair in [(left, right), (right, left)])


def main() -> None:
    logging.disable(logging.CRITICAL)  # it reports what it cannot read
    packages = ["math-verify", "latex2sympy2-extended", "sympy"]
    json.dump(
        {
            "versions": {name: importlib.metadata.version(name) for name in packages},
            "same": [same(a, b) for a, b in json.load(sys.stdin)],
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
