"""Encodes a text with the `tokenizers` library, to compare package data with.

    python tokenizer_parity.py TOKENIZER_JSON TEXT [--special] [--lines]

prints the ids as one JSON list. TEXT is read as UTF-8, its line ends as they are. With --special the names of added
tokens in the text are recognised; without it they are text. With --lines every line is a text in itself, and the result
is one list a line.
"""

import json
import sys

from tokenizers import Tokenizer


def main() -> None:
    flags = [a for a in sys.argv[1:] if a.startswith("--")]
    tokenizer_path, text_path = [a for a in sys.argv[1:] if not a.startswith("--")]
    tokenizer = Tokenizer.from_file(tokenizer_path)
    tokenizer.encode_special_tokens = "--special" not in flags
    with open(text_path, encoding="utf-8", newline="") as file:
        text = file.read()
    if "--lines" in flags:
        ids = [e.ids for e in tokenizer.encode_batch(text.split("\n"))]
    else:
        ids = tokenizer.encode(text).ids
    json.dump(ids, sys.stdout)


if __name__ == "__main__":
    main()
