"""What the programs that compute in transformers to compare with ours have in common:

    python …_parity.py SPEC.json OUT.json

A test writes the one and reads the other.
"""

import json
import sys

import torch
import transformers


def answer(compute):
    """Writes what compute makes of the spec, a dictionary of each."""
    torch.set_num_threads(2)
    with open(sys.argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    out = compute(spec) | {"transformers": transformers.__version__}
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(out, file)


def language_model(folder):
    """An exported model, in float32 as it was written."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    return model.eval()
