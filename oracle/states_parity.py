"""Computes hidden states of texts with transformers, to compare package eval with.

    python states_parity.py SPEC.json OUT.json

SPEC.json names a folder of a causal language model and texts (token ids of different lengths). OUT.json gets, for each text by itself,
the states below the first layer and behind each, before the last norm: those of the last token and the means over tokens.
eval/states_test.go writes the one and reads the other.
"""

import torch

import parity


def compute(spec):
    model = parity.language_model(spec["dir"])
    seen = []
    model.model.embed_tokens.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    for layer in model.model.layers:
        layer.register_forward_hook(
            lambda _module, _inputs, output: seen.append(output[0] if isinstance(output, tuple) else output)
        )
    last, mean = [], []
    for text in spec["texts"]:
        seen.clear()
        with torch.no_grad():
            model(input_ids=torch.tensor([text]))
        states = torch.stack([s.reshape(len(text), -1) for s in seen])
        last.append(states[:, -1].tolist())
        mean.append(states.mean(1).tolist())
    return {"last": last, "mean": mean}


if __name__ == "__main__":
    parity.answer(compute)
